"""Makes the tiny model of the tests: vocabulary, made-up training texts, network, file and its measurement."""
