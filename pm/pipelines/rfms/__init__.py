"""rFMS 4.0, the interface by which truck manufacturers hand a fleet its vehicles' data -> the store.

What belongs here: asking a server, reading its answers, and which of their fields is what. Rows go in by
`pm.pipelines.imports.rows`.
"""
