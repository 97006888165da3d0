"""Counts the words of a text: a task function in Python."""

import json
import re

import wit_world

WORD = re.compile(r"[a-z]+")


class WitWorld(wit_world.WitWorld):
    def run(self, s: str) -> str:
        item = json.loads(s)
        words = WORD.findall(item["text"].lower())
        longest = max(words, key=len, default="")
        return json.dumps({"id": item["id"], "words": len(words), "longest": longest}, separators=(",", ":"))
