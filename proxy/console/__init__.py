"""The web page of the admin port: decisions as they come, policies with their scores, guards. See docs/console.md."""
