"""dots-wrapper, a JavaScript client of the same API, driven by dots.js."""

from clients import ClientTestCase, raw_disk


class Dots(ClientTestCase):
    def test_everything_it_has_for_us(self):
        number = self.upload(raw_disk(4, b"dots"))
        self.assertEqual(self.node("dots.js", number), {"passed": True})
