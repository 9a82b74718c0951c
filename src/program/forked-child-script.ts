// The part of the fork server's Python that forks, and that makes the forked process what a new one would be.

/** Defines fork, Child, Memory and ENGINE. */
export const forkedChildScript: string = String.raw`
import importlib.util, json, os, sys, threading

ENGINE = "prefect.engine"
RUN_ID = b"PREFECT__FLOW_RUN_ID="


class Child:
    """A forked process. It waits for its request, and then for the worker that knows of it."""

    def __init__(self, pid, gate, problem_end):
        self.pid = pid
        self.gate = gate
        self.problem_end = problem_end

    def become(self, request):
        """Returns why it failed. Then the child has ended."""
        data = json.dumps(request).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self.gate, data) :]
        except OSError as error:
            self.discard()
            return str(error)
        with os.fdopen(self.problem_end, "rb") as pipe:
            problem = pipe.read().decode(errors="replace")
        if problem:
            os.close(self.gate)
            os.waitpid(self.pid, 0)
        return problem

    def has_ended(self):
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def discard(self):
        os.close(self.gate)
        os.close(self.problem_end)
        os.waitpid(self.pid, 0)


def fork(close_server, memory, searches_cwd):
    """Returns the Child. In the child, returns None when it may go on."""
    gate_end, gate = os.pipe()
    problem_end, child_problem = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        for number in (gate_end, gate, problem_end, child_problem):
            os.close(number)
        raise
    if pid:
        os.close(gate_end)
        os.close(child_problem)
        return Child(pid, gate, problem_end)
    try:
        os.close(gate)
        os.close(problem_end)
        close_server()
        memory.write_arguments([sys.executable, "(lictor: next engine)"])
        become(read_request(gate_end), memory, searches_cwd)
    except BaseException as error:
        os.write(child_problem, str(error).encode()[:4000] or b"failed")
        os._exit(1)
    os.close(child_problem)
    # Without a worker that knows of it, the engine must not begin.
    if os.read(gate_end, 1) != b"g":
        os._exit(1)
    os.close(gate_end)
    return None


def read_request(gate):
    received = b""
    while not received.endswith(b"\n"):
        chunk = os.read(gate, 1 << 20)
        if not chunk:
            os._exit(0)
        received += chunk
    return json.loads(received)


def become(request, memory, searches_cwd):
    """Makes this process what the system makes of a new one."""
    os.setsid()
    for number, path in enumerate(request["output"] or [], start=1):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    env = request["env"]
    memory.write_run_id(env[RUN_ID[:-1].decode()])
    memory.write_arguments([sys.executable, "-m", ENGINE])
    os.environ.clear()
    os.environ.update(env)
    if searches_cwd:
        sys.path.insert(0, os.getcwd())
    importlib.invalidate_caches()
    # Python before 3.13 keeps that of the parent.
    if hasattr(threading.main_thread(), "_set_native_id"):
        threading.main_thread()._set_native_id()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "multiprocessing.process" in sys.modules:
        sys.modules["multiprocessing.process"].current_process().authkey = os.urandom(32)


class Memory:
    """The arguments and the environment that the system shows of this process. They lie in its memory."""

    def __init__(self):
        with open("/proc/self/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        self.arguments, end, env = (int(field) for field in fields[45:48])
        self.size = end - self.arguments
        with open("/proc/self/environ", "rb") as environ:
            at = environ.read().find(RUN_ID)
        self.run_id = None if at < 0 else env + at + len(RUN_ID)

    def write_run_id(self, run_id):
        if self.run_id is not None and len(run_id) == 36:
            self.write(self.run_id, run_id.encode())

    def write_arguments(self, arguments):
        shown = b"\0".join(word.encode(errors="surrogateescape") for word in arguments)
        if len(shown) >= self.size:
            return
        try:
            self.write(self.arguments, shown.ljust(self.size, b"\0"))
        except OSError:
            pass  # They are only for people who look at the list of processes.

    def write(self, address, data):
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(address)
            memory.write(data)
`;
