"""Read, compute, write: one public function a module, returning a frozen report.

What belongs here: the order of the steps and the transaction around them. What does not: formulas
(they are in the rooms below) and SQL (`pm.store`).
"""
