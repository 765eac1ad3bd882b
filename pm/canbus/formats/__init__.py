"""Readers of CAN logs, one module a format; each yields `block.FrameBlock`.

What belongs here: bytes of a log in, columns of frames out. Telling formats apart and opening files is
`pm.canbus.logfile`, the only module that calls these readers.
"""
