"""The commands that fix an installation: those of a clone's Makefile, or those of a package."""

from pathlib import Path


def is_clone() -> bool:
    """Whether this folder has batchpush itself, and with it the Makefile and its `venv/`."""
    return Path("batchpush/__init__.py").is_file()


def package() -> str:
    """What pip installs as batchpush: the wheel file in this folder, if there is one."""
    files = sorted(Path().glob("batchpush-*.whl"))
    return f"./{files[-1].name}" if files else "batchpush"


def missing(what: str) -> str:
    """Says that a package which only commands need is not installed."""
    fix = setup() if is_clone() else f"pip install '{package()}[cli]'"
    return f"{what} is not installed: {fix}"


def setup(python: str = "") -> str:
    """Makes `venv/`, with a certain Python if given."""
    if is_clone():
        return f"make setup PYTHON={python}" if python else "make setup"
    return of_package(package(), python)


def of_package(package: str, python: str = "") -> str:
    """The same for a folder with this package: a name, or a wheel file."""
    install = f"venv/bin/pip install -r requirements.txt '{package}[cli]'"
    return f"{python} -m venv venv && {install}" if python else install


def deploy(project: str | None = None) -> str:
    if is_clone():
        return f"make deploy PROJECT={project}" if project else "make deploy"
    return f"batchpush deploy --project {project}" if project else "batchpush deploy"


def adding(package: str) -> str:
    """Adds a package to those that functions install."""
    if is_clone():
        return f"echo {package} >> requirements.in && make lock"
    return f"echo {package} >> requirements.txt"
