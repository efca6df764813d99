"""What a browser makes of a page, for the tests that look at one."""

from html.parser import HTMLParser

VOID = {"meta", "link", "input", "img", "br"}


class Seen(HTMLParser):
    """What a browser made of a page: its elements, and the text under each class."""

    def __init__(self, dom):
        super().__init__()
        self.root, self.tags, self.texts, self.open = {}, [], [], []
        self.feed(dom)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.root = attrs if tag == "html" else self.root
        self.tags.append((tag, attrs))
        if tag not in VOID:
            self.open.append((tag, set((attrs.get("class") or "").split()), len(self.texts)))
            self.texts.append([self.open[-1], ""])

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if self.open and self.open[-1][0] not in {"script", "style"}:
            for _, _, index in self.open:
                self.texts[index][1] += data

    def of(self, tag, kind=None):
        """The texts of the elements of that tag, and of that class if one is given."""
        found = [text for (each, kinds, _), text in self.texts if each == tag and (kind is None or kind in kinds)]
        return [" ".join(text.split()) for text in found]
