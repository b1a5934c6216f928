"""The OpenAI-compatible reverse proxy: wire shapes, routes, upstreams, decisions carried out."""
