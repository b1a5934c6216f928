"""llama.cpp, typed and guarded: the only folder that imports ``llama_cpp``.

::

    errors       what goes wrong in a native call
    backend      the native library: started once, its complaints, what it was built for
    arrays       arrays as llama.cpp reads them
    vocabulary   text → token ids, none of them forged; and back
    model        a loaded file
    handle       what both kinds of context share: the batch, the call, the stop
    context      the KV cache of a generative model
    classifier   an encoder with a classification head

A thin cover over the low-level interface of llama-cpp-python 0.3.36. Three rules:

* llama.cpp ends the process on a failed assertion, so whatever a call could trip over is checked first: lengths,
  token ids, sequence ids, free cells (by our own `KvLedger`), NULL where numbers should be.
* Text never becomes a control token: `Vocabulary.encode_text` cuts it apart (`models.cutting`) and then looks at every
  id. Control tokens come from `Vocabulary.control` only.
* A sequence is never half changed: a decode that failed or was stopped leaves it empty (`Context.decode`) or as it was
  (`Context.decode_together`).

One thread at a time. Native calls release the GIL; the abort callback takes it back for a moment at every node of the
compute graph. llama.cpp asks that callback on CPU backends only, so on a GPU a stop is seen between batches.

Still ugly: importing ``llama_cpp`` loads the native library and sets a log callback of its own; `backend.backend` replaces it.
"""
