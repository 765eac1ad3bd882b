"""The steps of `pm.pipelines.redecode`: which logs, decoding one, what waits, and replacing its rows."""
