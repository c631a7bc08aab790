"""What a browser would make of a page."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """Elements, what a browser would fetch, and the text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fetched, self.tags, self.text, self.silent = [], [], "", 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.silent += tag in ("script", "style")
        self.fetched += [v for k, v in attrs if k in ("src", "href", "srcset", "action", "data")]

    def handle_endtag(self, tag):
        self.silent -= tag in ("script", "style")

    def handle_data(self, data):
        self.text += "" if self.silent else data
