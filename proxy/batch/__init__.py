"""``safeguard screen``: judge the rows of a file, and write a line for each.

::

    rows      a file, or standard input → rows; what is none is a row with a problem
    work      rows → records, many at once, in the order of the rows
    output    records → lines; where a run that was killed stopped, and whether it may go on
    tally     what is in the records: the summary and the exit code
    command   puts them together
"""
