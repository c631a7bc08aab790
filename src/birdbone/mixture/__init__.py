"""A dense model cut into a mixture of experts that stock runtimes hold."""
