#!/usr/bin/env python3
"""Writes data/words.txt and data/held_out.txt from tiny Shakespeare.

    make_data.py INPUT

INPUT is Andrej Karpathy's tinyshakespeare/input.txt, 1,115,394 characters of Shakespeare's plays, whose text is in the
public domain: https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt

words.txt     every word of the whole text, sorted, one a line. A word is a longest run of letters and apostrophes, in
              lower case: what metrics.cpp takes for one, but that a lone apostrophe is none there. Plain text, for front
              coding would save half of 100 kB and cost a decoder.
held_out.txt  the last tenth, from character int(0.9 * length) on, which the models of out/ were not trained on.
"""

import pathlib
import re
import sys


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    text = pathlib.Path(sys.argv[1]).read_bytes().decode("ascii")
    folder = pathlib.Path(__file__).resolve().parent / "data"
    folder.mkdir(exist_ok=True)
    words = sorted({word.lower() for word in re.findall(r"[A-Za-z']+", text)})
    (folder / "words.txt").write_text("".join(word + "\n" for word in words), encoding="ascii", newline="\n")
    (folder / "held_out.txt").write_text(text[int(0.9 * len(text)) :], encoding="ascii", newline="\n")


if __name__ == "__main__":
    main()
