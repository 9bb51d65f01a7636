"""What `sklabeldiff.report` puts on its page, and the page itself.

Beliefs and neighbours (`beliefs`), one line per row (`rows`), sums over rows
(`overview`), pictures, texts and values of single rows (`details`), and the file
(`page`). The page is HTML, CSS and JavaScript in files beside these, with nothing to be
built.
"""
