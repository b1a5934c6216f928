"""From a configuration file to routes, rules and guards that are ready to be started.

::

    source         the file: read, with the place of whatever is wrong in it
    keys           keys and tokens: named in the file, held by the environment
    places         where the files and folders lie that it names
    policies       its policies, their examples and calibrations
    rules          the rules of its routes
    guards         what its guards are, before they are built
    drawing        all of it, checked: a blueprint
    revisions      hashes over what it says
    blueprint      what was read and checked, and how it is put together
    loaded         what was put together
    single_guard   one guard by itself, without the rest

Every error names file, line, key and what would be right, as one line.
"""
