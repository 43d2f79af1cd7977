"""Adds the one compiled part, which installs only where a compiler is: without it the same is done in Python."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "kassa.chains.bitcoin._scan",
            ["src/kassa/chains/bitcoin/_scan.c"],
            optional=True,
            extra_compile_args=["-g0"],  # what debuggers read names the folder: the same source would be other bytes
        ),
    ]
)
