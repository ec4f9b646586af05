"""What is on a page and was not written there as a sign: found, and taken away. `steps` has the order.

| step | module | what it takes |
|---|---|---|
| before ink is sought | surround, slips | the table, the lid, the dark ground around a page or a slip |
| 1 | paper, rulings | the edges of the scan, and lines that run across the page |
| 2 | boxes | rectangles that stand free, each around a digit |
| 3 | paper, rulings | lines, frames and tables that end within the page |
| 4 | combs | the uprights between fields, left when the line they stood on was taken |
| 5 | enclosures, rings | frames and rings that signs touch |
| 6 | outlines | digits drawn as outlines: filled |
| 7 | foreign | whole pieces: lines of the paper, frames, slabs, specks |

A step may rely on those before it: combs, say, on lines that are gone. A new kind of what is no writing gets a module
here and a line in `steps`.
"""
