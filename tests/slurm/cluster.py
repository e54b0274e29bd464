"""A real SLURM on one machine: as root, without systemd and without cgroups.

    python tests/slurm/cluster.py up FOLDER [--nodes 2] [--cpus 1] [--gpus 0]
    python tests/slurm/cluster.py down FOLDER [--wipe]

munged, mariadbd, slurmdbd, slurmctld and one slurmd per virtual node run in the background, on
ports of their own, with all that they write below FOLDER. Only what was started here is stopped.
"""

import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

PACKAGES = "apt-get install -y --no-install-recommends slurm-wlm slurmdbd munge mariadb-server"
NEEDED = (
    *("munged", "mariadbd", "mariadb-install-db", "mariadb", "slurmdbd", "slurmctld", "slurmd"),
    *("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr"),
)
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
HERE = "127.0.0.1"
SOCKET_PATH_MOST = 100  # the kernel's limit is 108


class ClusterError(RuntimeError):
    """Something is missing on this machine, or a part of the cluster does not come up."""


def lacking() -> str:
    """What to say where the programs are not installed, or where we are not root; else empty."""
    missing = [name for name in NEEDED if _which(name) is None]
    if missing:
        return f"a real SLURM needs {', '.join(missing)}: {PACKAGES}"
    return "" if os.geteuid() == 0 else "a real SLURM is brought up as root"


@dataclass
class Daemon:
    """A program in the background, known by its pid file, whoever started it."""

    name: str
    command: list[str]
    folder: Path
    env: dict[str, str]
    work: Path
    _child: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.folder / "log" / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Its process, if that lives; a pid that another process got since does not count."""
        with suppress(FileNotFoundError, ValueError):
            pid, start = map(int, self._pid_file.read_text().split())
            return pid if start_of(pid) == start else None
        return None

    def start(self) -> None:
        """Start it unless it runs."""
        if self.pid is not None:
            return
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [_path(self.command[0]), *self.command[1:]],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.env, cwd=self.work, start_new_session=True,
            )  # fmt: skip
        self._pid_file.write_text(f"{self._child.pid} {start_of(self._child.pid) or 0}\n")

    def stop(self, seconds: float = 10.0) -> None:
        """Ask it to end; kill it when it does not."""
        if not self._signal(signal.SIGTERM, seconds):
            self.kill()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._signal(signal.SIGKILL, 10)

    def last_words(self) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-8:])

    @property
    def _pid_file(self) -> Path:
        return self.folder / "run" / f"{self.name}.pid"

    def _signal(self, what: signal.Signals, seconds: float) -> bool:
        pid = self.pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, what)
        ended = _wait(lambda: self.pid is None, seconds)
        if ended and self._child is not None:
            self._child.wait()
        return ended


@dataclass
class Cluster:
    """The cluster below `folder`: `nodes` virtual nodes n1, n2, ... with `cpus` slots each."""

    folder: Path
    nodes: int = 2
    cpus: int = 1
    gpus: int = 0
    _daemons: dict[str, Daemon] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Absolute, since SLURM wants its paths so; nothing is started."""
        self.folder = Path(self.folder).absolute()

    @property
    def conf(self) -> Path:
        """The slurm.conf."""
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to find this cluster."""
        return {"SLURM_CONF": str(self.conf)}

    @cached_property
    def names(self) -> list[str]:
        """The nodes' names."""
        return [f"n{i}" for i in range(1, self.nodes + 1)]

    def up(self) -> None:
        """Bring up what does not run yet, and wait until every node is idle."""
        self._check()
        self._prepare()
        self._daemon("munged").start()
        self._start_database()
        self._await("slurmdbd", self.runs("sacctmgr", "-n", "list", "cluster"))
        if "tsr" not in self.run("sacctmgr", "-nP", "list", "cluster", "format=cluster").split():
            self.run("sacctmgr", "-i", "add", "cluster", "tsr")
        self.start_controller()
        for name in self.names:
            self.start_slurmd(name)
        self.wait_idle()

    def down(self, wipe: bool = False) -> None:
        """Stop everything that `up` started, jobs included; with `wipe`, delete the folder."""
        nodes = [path.stem for path in self.folder.glob("run/slurmd-*.pid")]
        for name in nodes:
            self._stop(name)
            self._kill_jobs(name.removeprefix("slurmd-"))
        for name in ("slurmctld", "slurmdbd", "mariadbd", "munged"):
            self._stop(name)
        if wipe:
            shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *command: str) -> str:
        """What a command of SLURM prints. Raises ClusterError with what it complains of."""
        done = self._call(*command)
        if done.returncode != 0:
            raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def runs(self, *command: str) -> Callable[[], bool]:
        """A question: does this command succeed (by now)?"""
        return lambda: self._call(*command).returncode == 0

    def kill_slurmd(self, node: str, jobs: bool = True) -> None:
        """As if the node lost its power; `jobs=False`: its jobs stay alive, only slurmd dies."""
        self._daemon(f"slurmd-{node}").kill()
        if jobs:
            self._kill_jobs(node)

    def start_slurmd(self, node: str) -> None:
        """Switch a node on again."""
        self._daemon(f"slurmd-{node}").start()

    def kill_controller(self) -> None:
        """The controller is gone from one moment to the next; jobs go on."""
        self._daemon("slurmctld").kill()

    def start_controller(self) -> None:
        """Start the controller, which remembers its jobs, and wait until it answers."""
        self._await("slurmctld", self.runs("scontrol", "ping"))

    def node_down(self, node: str, reason: str = "test") -> None:
        """Declare a node dead."""
        self.run("scontrol", "update", f"NodeName={node}", "State=DOWN", f"Reason={reason}")

    def node_resume(self, node: str) -> None:
        """Let a node work again."""
        self.run("scontrol", "update", f"NodeName={node}", "State=RESUME")

    def states(self) -> dict[str, str]:
        """Each node's state as sinfo has it: idle, allocated, down*, ..."""
        lines = self.run("sinfo", "-hN", "-p", "main", "-o", "%N %T").split("\n")
        return dict(line.split() for line in lines if line)

    def wait_idle(self, seconds: float = 60.0) -> None:
        """Wait until every node is there and has nothing to do."""
        idle = dict.fromkeys(self.names, "idle")
        self._wait_for("idle nodes", lambda: self.states() == idle, seconds)

    def wait_node(self, node: str, state: str, seconds: float = 60.0) -> None:
        """Wait until a node's state begins with `state`."""
        self._wait_for(
            f"{node} {state}", lambda: self.states()[node].startswith(state), seconds
        )  # fmt: skip

    def tidy(self) -> None:
        """End all jobs, start again what was killed, wait until every node is idle."""
        self.start_controller()
        for name in self.names:
            self.start_slurmd(name)
        if self.run("squeue", "-h"):
            self.run("scancel", "-u", "root")
            self.run("scancel", "-u", "root", "--full", "-s", "KILL")
            self._wait_for("an empty queue", lambda: not self.run("squeue", "-h"), 60)
        for node, state in self.states().items():
            if state.startswith("d"):  # down, drained, draining
                with suppress(ClusterError):  # it may have come back by itself meanwhile
                    self.node_resume(node)
        self.wait_idle()

    def _call(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [_path(command[0]), *command[1:]],
            env=os.environ | self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def _daemon(self, name: str) -> Daemon:
        if name not in self._daemons:
            node = name.removeprefix("slurmd-")
            command, env = self._command(name, node), os.environ | self.environment
            work = self._spool(node) if name.startswith("slurmd-") else self.folder
            self._daemons[name] = Daemon(name, command, self.folder, env, work)
        return self._daemons[name]

    def _spool(self, node: str) -> Path:
        return self.folder / f"spool-{node}"

    def _kill_jobs(self, node: str) -> None:
        """What serves a node's jobs stands in its spool folder; the rest descends from that."""
        spool, about = self._spool(node), {f"SLURM_CONF={self.conf}", f"SLURMD_NODENAME={node}"}
        _kill_all(_offspring({p for p in _processes() if _cwd(p) == spool or about <= _environ(p)}))

    def _command(self, name: str, node: str) -> list[str]:
        commands = {
            "munged": _munged(self.folder),
            "mariadbd": _mariadbd(self.folder),
            "slurmdbd": ["slurmdbd", "-D"],
            "slurmctld": ["slurmctld", "-D"],
        }
        return commands.get(name, ["slurmd", "-D", "-N", node])

    def _stop(self, name: str) -> None:
        self._daemon(name).stop()
        (self.folder / "run" / f"{name}.pid").unlink(missing_ok=True)

    def _await(self, name: str, answers: Callable[[], bool]) -> None:
        """Start a daemon and wait until it answers."""
        daemon = self._daemon(name)
        daemon.start()
        if not _wait(lambda: daemon.pid is None or answers(), 60) or daemon.pid is None:
            raise ClusterError(f"{name} does not come up; {daemon.log}:\n{daemon.last_words()}")

    def _wait_for(self, what: str, there: Callable[[], bool], seconds: float) -> None:
        if not _wait(there, seconds):
            shown = self.run("sinfo", "-N", "-l") + self.run("squeue")
            words = "\n".join(daemon.last_words() for daemon in self._daemons.values())
            raise ClusterError(f"no {what} after {seconds:g} s\n{shown}\n{words}")

    def _check(self) -> None:
        if lacking():
            raise ClusterError(lacking())
        if len(str(self.folder / "run" / "mariadbd.sock")) > SOCKET_PATH_MOST:
            raise ClusterError(f"{self.folder}: too long a path for a socket")

    def _prepare(self) -> None:
        """Folders, keys, configurations. Those of a cluster that runs are left alone."""
        spools = [self._spool(node).name for node in self.names]
        for name in ("run", "log", "state", "etc", *spools):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        _write_key(self.folder / "etc" / "munge.key")
        if not any(self._daemon(path.stem).pid for path in self.folder.glob("run/*.pid")):
            ports = free_ports(3 + self.nodes)
            (self.folder / "etc" / "database.port").write_text(f"{ports[0]}\n")
            write_private(self.folder / "slurmdbd.conf", slurmdbd_conf(self.folder, *ports[:2]))
            (self.folder / "gres.conf").write_text(self._gres())
            self.conf.write_text(slurm_conf(self, ports[1:]))
            self._daemons.clear()  # their commands hold the ports

    def _gres(self) -> str:
        """Each GPU is a stand-in: SLURM looks for a device file of that name and no further."""
        if not self.gpus:
            return ""
        for index in range(self.gpus):
            _stand_in(self.folder / "etc" / f"gpu{index}")
        return f"Name=gpu File={self.folder}/etc/gpu[0-{self.gpus - 1}]\n"

    def _start_database(self) -> None:
        if not (self.folder / "mysql" / "mysql").exists():
            _call("mariadb-install-db", "--no-defaults", "--user=root", "--skip-test-db",
                  "--auth-root-authentication-method=normal",
                  f"--datadir={self.folder}/mysql")  # fmt: skip
        client = ("mariadb", "--no-defaults", "-uroot", f"--socket={self.folder}/run/mariadbd.sock")
        self._await("mariadbd", self.runs(*client, "-e", GRANT))


GRANT = (
    "create database if not exists slurm; "
    f"create user if not exists slurm@'{HERE}' identified by 'slurm'; "
    "create user if not exists slurm@localhost identified by 'slurm'; "
    f"grant all on slurm.* to slurm@'{HERE}'; grant all on slurm.* to slurm@localhost"
)


def _munged(folder: Path) -> list[str]:
    options = {
        "socket": folder / "run" / "munge.sock",
        "key-file": folder / "etc" / "munge.key",
        "pid-file": folder / "run" / "munged.own-pid",
        "log-file": folder / "log" / "munged.own-log",
        "seed-file": folder / "etc" / "munge.seed",
        "origin": HERE,
        "num-threads": 2,
    }
    return ["munged", "--foreground", "--force", *(f"--{k}={v}" for k, v in options.items())]


def _mariadbd(folder: Path) -> list[str]:
    port = folder / "etc" / "database.port"
    options = {
        "datadir": folder / "mysql",
        "socket": folder / "run" / "mariadbd.sock",
        "pid-file": folder / "run" / "mariadbd.own-pid",
        "port": port.read_text().strip() if port.exists() else 0,
        "bind-address": HERE,
        "innodb-buffer-pool-size": "64M",
        "innodb-lock-wait-timeout": 900,
        "innodb-flush-log-at-trx-commit": 2,
        "innodb-use-native-aio": 0,
    }
    start = ["mariadbd", "--no-defaults", "--user=root", "--skip-log-bin", "--skip-name-resolve"]
    return [*start, *(f"--{k}={v}" for k, v in options.items())]


def slurmdbd_conf(folder: Path, database: int, port: int) -> str:
    """The accounting daemon's configuration."""
    return f"""\
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.sock
DbdHost=localhost
DbdAddr={HERE}
DbdPort={port}
SlurmUser=root
PidFile={folder}/run/slurmdbd.own-pid
StorageType=accounting_storage/mysql
StorageHost={HERE}
StoragePort={database}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""


def slurm_conf(cluster: Cluster, ports: list[int]) -> str:
    """The cluster's configuration: quick to schedule, quick to requeue, three partitions.

    `cred_expire`: a requeued job starts again as soon as its old credential has expired, which is
    after two minutes by default. `GraceTime` and preempt_send_user_signal: a job that is preempted
    gets its signal (sbatch --signal) and 20 s. AccountingStoragePass is munge's socket.
    """
    accounting, controller, *of_nodes = ports
    folder, host = cluster.folder, socket.gethostname().split(".")[0]
    gres = f" Gres=gpu:{cluster.gpus}" if cluster.gpus else ""
    counted = "GresTypes=gpu\nAccountingStorageTRES=gres/gpu\n" if cluster.gpus else ""
    what = f"NodeHostname={host} NodeAddr={HERE} CPUs={cluster.cpus} RealMemory=512000{gres}"
    nodes = [f"NodeName={n} Port={p} {what}" for n, p in zip(cluster.names, of_nodes, strict=True)]
    return f"""\
ClusterName=tsr
SlurmctldHost={host}({HERE})
SlurmctldPort={controller}
SlurmctldParameters=preempt_send_user_signal
SlurmctldPidFile={folder}/run/slurmctld.own-pid
SlurmctldTimeout=20
SlurmdPidFile={folder}/run/slurmd-%n.own-pid
SlurmdParameters=config_overrides
SlurmdSpoolDir={folder}/spool-%n
SlurmdTimeout=20
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.sock,cred_expire=10
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={HERE}
AccountingStoragePort={accounting}
AccountingStoragePass={folder}/run/munge.sock
JobAcctGatherType=jobacct_gather/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=5
MinJobAge=300
InactiveLimit=0
ReturnToService=2
{counted}{chr(10).join(nodes)}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
PartitionName=low Nodes=ALL MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=high Nodes=ALL MaxTime=INFINITE PriorityTier=100 PreemptMode=OFF
"""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that the kernel gives to outgoing connections."""
    found: list[int] = []
    with ExitStack() as stack:
        for port in random.sample(range(20000, 32000), 1000):
            if len(found) < count:
                probe = stack.enter_context(socket.socket())
                with suppress(OSError):
                    probe.bind((HERE, port))
                    found.append(port)
    return found


def write_private(path: Path, text: str) -> None:
    """Write a file that only we can read, as slurmdbd and munged insist on."""
    path.touch(0o600)
    path.write_text(text)


def _write_key(path: Path) -> None:
    if not path.exists():
        path.touch(0o400)
        path.write_bytes(os.urandom(1024))


def _stand_in(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(os.devnull)


def _call(*command: str) -> None:
    done = subprocess.run([_path(command[0]), *command[1:]], capture_output=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{command[0]}: {(done.stdout + done.stderr).decode()[-2000:]}")


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SBIN}")


def _path(name: str) -> str:
    path = _which(name)
    if path is None:
        raise ClusterError(f"{name} is not installed: {PACKAGES}")
    return path


def _wait(there: Callable[[], bool], seconds: float) -> bool:
    """Whether it is so within the time."""
    deadline = time.monotonic() + seconds
    while not there():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def start_of(pid: int) -> int | None:
    """When a living process started, in ticks; None when it is dead."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def _stat(pid: int) -> list[str] | None:
    """State, parent, ... of a process; the name before them may hold spaces and brackets."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return None


def _processes() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _offspring(found: set[int]) -> set[int]:
    """These processes and all that descend from them."""
    parents = {pid: int(stat[1]) for pid in _processes() if (stat := _stat(pid))}
    more = found
    while more:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found = found | more
    return found


def _cwd(pid: int) -> Path | None:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cwd").readlink()
    return None


def _environ(pid: int) -> set[str]:
    with suppress(OSError):
        return set(Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0"))
    return set()


def _kill_all(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    up, down = commands.add_parser("up"), commands.add_parser("down")
    for command in (up, down):
        command.add_argument("folder", type=Path)
    for name, default in {"nodes": 2, "cpus": 1, "gpus": 0}.items():
        up.add_argument(f"--{name}", type=int, default=default)
    down.add_argument("--wipe", action="store_true", help="delete the folder")
    return _carry_out(parser.parse_args(argv))


def _carry_out(args: argparse.Namespace) -> int:
    try:
        if args.command == "down":
            Cluster(args.folder).down(args.wipe)
        else:
            cluster = Cluster(args.folder, args.nodes, args.cpus, args.gpus)
            cluster.up()
            print(f"export SLURM_CONF={cluster.conf}")
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
