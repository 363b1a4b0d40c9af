"""How each program is told to do the same, and how those that can be had are installed."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

PASSWORD = "a password"
# Borg advises by this which of its two hashes to take.
HASHES_SHA = "sha_ni" in Path("/proc/cpuinfo").read_text()


class Program:
    """One program with a repository, caches and keys of its own, all in one folder.

    `options` says in the foot of the table what it is run with, `check_is` what its check is where it is another than `check
    --read-data`. The methods give command lines; `init` gives several, which are not measured.
    """
    options = "its defaults"
    check_is = ""

    def __init__(self, binary, work):
        self.binary, self.work = str(binary), Path(work)
        self.repo, self.count = self.work / "repo", 0

    def __call__(self, *args):
        return [self.binary, *map(str, args)]

    def version(self, asked="--version"):
        said = subprocess.run(self(asked), env=self.env(), capture_output=True, text=True).stdout.replace("-", " ").split()
        return next((word for word in said if word[0].isdigit()), "unknown")

    def env(self):
        return {**os.environ, "HOME": str(self.work), "XDG_CACHE_HOME": str(self.work / "cache"), **self.settings()}

    def settings(self):
        return {}


class Onefold(Program):
    options = "its defaults; opened by a key file, so that no password is derived"

    def settings(self):
        state, cache = str(self.work / "state"), str(self.work / "cache")
        return {"ONEFOLD_REPOSITORY": str(self.repo), "XDG_STATE_HOME": state, "ONEFOLD_CACHE_DIR": cache}

    def init(self):
        return [self("--quiet", "init", "--new-key-file", self.work / "key")]

    def opened(self, *args):
        return self("--quiet", "--key-file", self.work / "key", *args)

    def backup(self, tree):
        return self.opened("backup", "files", tree)

    def restore(self, to):
        return self.opened("restore", "latest", "--target", to)

    def check(self):
        return self.opened("check", "--read-data")


class Restic(Program):
    options = "its defaults (zstd, automatic level; a cache); opened by a password"

    def version(self, asked="version"):
        return super().version(asked)

    def settings(self):
        return {"RESTIC_REPOSITORY": str(self.repo), "RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": str(self.work / "cache")}

    def init(self):
        return [self("--quiet", "init")]

    def backup(self, tree):
        return self("--quiet", "backup", tree)

    def restore(self, to):
        return self("--quiet", "restore", "latest", "--target", to)

    def check(self):
        return self("--quiet", "check", "--read-data")


class Rustic(Program):
    options = "its defaults (zstd 3; a cache); opened by a password"

    def settings(self):
        return {"RUSTIC_REPOSITORY": str(self.repo), "RUSTIC_PASSWORD": PASSWORD, "RUSTIC_CACHE_DIR": str(self.work / "cache"),
                "RUSTIC_NO_PROGRESS": "true", "RUSTIC_LOG_LEVEL": "error"}

    def init(self):
        return [self("init")]

    def backup(self, tree):
        return self("backup", tree)

    def restore(self, to):
        return self("restore", "latest", to)

    def check(self):
        return self("check", "--read-data")


class Borg(Program):
    encryption = "repokey" if HASHES_SHA else "repokey-blake2"
    options = f"{encryption}, as it advises on this CPU, and zstd,3 in place of lz4, as others compress; opened by a password"
    check_is = "check --verify-data"

    def settings(self):
        return {"BORG_REPO": str(self.repo), "BORG_PASSPHRASE": PASSWORD, "BORG_BASE_DIR": str(self.work / "base")}

    def init(self):
        return [self("init", "--encryption", self.encryption)]

    def backup(self, tree):
        self.count += 1
        return self("create", "--compression", "zstd,3", f"::{self.count}", tree)

    def restore(self, to):
        return self("extract", f"::{self.count}")

    def check(self):
        return self("check", "--verify-data")


class Bupstash(Program):
    options = "its defaults (zstd 3; a send log); opened by a key file, so that no password is derived"
    check_is = "it has none: get of everything to nowhere"

    def settings(self):
        return {"BUPSTASH_REPOSITORY": str(self.repo), "BUPSTASH_KEY": str(self.work / "key"),
                "BUPSTASH_SEND_LOG": str(self.work / "sendlog"), "BUPSTASH_QUERY_CACHE": str(self.work / "query")}

    def init(self):
        return [self("new-key", "-o", self.work / "key"), self("init")]

    def backup(self, tree):
        self.count += 1
        return self("put", "--quiet", f"count={self.count}", "::", tree)

    def restore(self, to):
        return self("restore", "--quiet", "--into", to, f"count={self.count}")

    def check(self):
        return self("get", "--quiet", f"count={self.count}")


class Kopia(Program):
    """Written by its documentation and never run: it could not be had."""
    options = "compression zstd-fastest, in place of none; opened by a password"
    check_is = "snapshot verify --verify-files-percent=100"
    tree = None

    def settings(self):
        return {"KOPIA_PASSWORD": PASSWORD, "KOPIA_CONFIG_PATH": str(self.work / "config"), "KOPIA_CHECK_FOR_UPDATES": "false",
                "KOPIA_CACHE_DIRECTORY": str(self.work / "cache"), "KOPIA_LOG_DIR": str(self.work / "logs")}

    def init(self):
        return [self("repository", "create", "filesystem", "--path", self.repo),
                self("policy", "set", "--global", "--compression", "zstd-fastest")]

    def backup(self, tree):
        self.tree = tree
        return self("snapshot", "create", "--no-progress", tree)

    def restore(self, to):
        return self("snapshot", "restore", self.tree, to)

    def check(self):
        return self("snapshot", "verify", "--verify-files-percent=100")


def known(tools, onefold):
    """Name, class and file of every program that can be asked for; the file of one that is not there is None."""
    def there(path):
        return path if os.access(path, os.X_OK) else None

    return [("onefold", Onefold, there(onefold)),
            ("restic", Restic, shutil.which("restic")),
            ("restic-new", Restic, there(tools / "go/restic")),
            ("rustic", Rustic, there(tools / "cargo/bin/rustic") or shutil.which("rustic")),
            ("borg", Borg, shutil.which("borg")),
            ("borg-new", Borg, there(tools / "borg/bin/borg")),
            ("bupstash", Bupstash, there(tools / "cargo/bin/bupstash") or shutil.which("bupstash")),
            ("kopia", Kopia, there(tools / "go/kopia") or shutil.which("kopia"))]


def setup(tools):
    """Installs what can be, one after another, and writes down why another could not. What is there is kept."""
    tools.mkdir(parents=True, exist_ok=True)
    go = {"GOBIN": str(tools / "go"), "CGO_ENABLED": "0"}
    cargo = ["cargo", "install", "--locked", "--root", str(tools / "cargo"), "--target-dir", str(tools / "target")]
    debian = ["apt-get", "install", "-y", "-q", "--no-install-recommends"]
    if os.getuid():
        debian.insert(0, "sudo")
    steps = {
        "restic": [[*debian, "restic"]],
        "borg": [[*debian, "borgbackup"]],
        "restic-new": [["go", "install", "-ldflags=-s -w", "github.com/restic/restic/cmd/restic@v0.19.1"]],
        "kopia": [["go", "install", "-ldflags=-s -w", "github.com/kopia/kopia@v0.23.1"]],
        # Its headers are those of the libraries that it finds by pkg-config.
        "borg-new": [[*debian, "python3-venv", "python3-dev", "gcc", "pkg-config", "libssl-dev", "libacl1-dev", "liblz4-dev",
                      "libzstd-dev", "libxxhash-dev"],
                     [sys.executable, "-m", "venv", str(tools / "borg")],
                     [str(tools / "borg/bin/pip"), "install", "--quiet", "borgbackup==1.4.5"]],
        "bupstash": [[*debian, "pkg-config", "libsodium-dev"], [*cargo, "bupstash@0.12.0"]],
        # Without its screens and servers, which have nothing to do with what is measured.
        "rustic": [[*cargo, "--no-default-features", "rustic-rs@0.11.4"]],
    }
    paths = {name: path for name, _, path in known(tools, "")}
    for name, commands in steps.items():
        why = tools / f"{name}.missing"
        why.unlink(missing_ok=True)
        if paths[name]:
            print(f"peers: {name} is there", flush=True)
            continue
        failed = None
        for command in commands:
            try:
                done = subprocess.run(command, env={**os.environ, **go}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE, text=True, errors="replace")
                failed = done.returncode and (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1].strip()
            except OSError as error:
                failed = str(error)
            if failed:
                why.write_text(f"`{' '.join(command[:2])}` failed: {failed}")
                break
        print(f"peers: {name} " + (f"is left out: {failed}" if failed else "is there"), flush=True)
    shutil.rmtree(tools / "target", ignore_errors=True)
