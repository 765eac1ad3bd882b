"""Measurements of the product against other libraries; `README.md` in this folder says what and how.

What belongs here: code that measures. The product never imports it, and no test runs it.
"""
