// The Python program that imports Prefect's engine once and forks a process for each flow run.

import { engineImportsScript } from "./engine-imports-script.ts";

/**
 * Takes the idle time in seconds, and then the modules to import besides the engine. Talks with the worker over file
 * descriptor 3, in lines of JSON. `ForkServer` has the messages.
 *
 * A forked process is the same as a new one as far as a flow can tell. It has its own session, environment, directory and
 * output. Prefect's settings are those of the import, so the environment must be the same apart from the variables
 * `PREFECT__*`, which are only read later. The process waits until the worker has stored its pid.
 */
export const forkServerScript: string = String.raw`${engineImportsScript}
import gc, importlib.util, json, selectors, socket

ENGINE = "prefect.engine"
RUN_ID = b"PREFECT__FLOW_RUN_ID="


def serve(idle_seconds, preload):
    """Forks a child for each request until the worker closes the connection. Returns the engine's code, in a child only."""
    searches_cwd = sys.path[:1] == [""]
    if searches_cwd:
        del sys.path[0]
    control = socket.socket(fileno=3)
    memory = Memory()
    memory.write_arguments([sys.executable, "(lictor: imported engine)"])
    try:
        # Old kernels have none.
        os.close(os.pidfd_open(os.getpid()))
        refused = import_all(preload)
        complete_models()
    except BaseException as error:
        send(control, {"failed": "%s: %s" % (type(error).__name__, error)})
        os._exit(1)
    files = Files([TlsContexts.prepare()])
    code = importlib.util.find_spec(ENGINE).loader.get_code(ENGINE)
    gc.collect()
    gc.freeze()
    send(control, {"ready": os.getpid(), "refused": refused, "threads": count_threads()})
    server = Server(control, files, memory, searches_cwd)
    while not server.is_child:
        server.wait(idle_seconds)
    return code


class Server:
    """The connection to the worker, and the children. In a child, is_child is true, and everything here is closed."""

    def __init__(self, control, files, memory, searches_cwd):
        self.control = control
        self.files = files
        self.memory = memory
        self.searches_cwd = searches_cwd
        self.is_child = False
        self.received = b""
        self.pids = {}  # by pidfd
        self.gates = {}  # by pid
        self.selector = selectors.DefaultSelector()
        self.selector.register(control, selectors.EVENT_READ)

    def wait(self, idle_seconds):
        events = self.selector.select(None if self.pids else idle_seconds)
        if not events:
            os._exit(0)
        for key, _ in events:
            if key.fileobj is not self.control:
                self.reap(key.fileobj)
            else:
                self.receive()
                if self.is_child:
                    return

    def receive(self):
        chunk = self.control.recv(1 << 20)
        if not chunk:
            os._exit(0)
        *lines, self.received = (self.received + chunk).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if "go" in request:
                self.open_gate(request["go"])
            else:
                self.start(request)
                if self.is_child:
                    return

    def start(self, request):
        problem = find_obstacle(request, self.files)
        if not problem:
            pid, gate, problem = fork(request, self.close, self.memory, self.searches_cwd)
        if problem:
            send(self.control, {"id": request["id"], "problem": problem})
        elif pid == 0:
            self.is_child = True
        else:
            pidfd = os.pidfd_open(pid)
            self.pids[pidfd] = pid
            self.gates[pid] = gate
            self.selector.register(pidfd, selectors.EVENT_READ)
            send(self.control, {"id": request["id"], "pid": pid})

    def open_gate(self, pid):
        gate = self.gates.pop(pid, None)
        if gate is not None:
            os.write(gate, b"g")
            os.close(gate)

    def reap(self, pidfd):
        self.selector.unregister(pidfd)
        os.close(pidfd)
        pid = self.pids.pop(pidfd)
        _, status = os.waitpid(pid, 0)
        gate = self.gates.pop(pid, None)
        if gate is not None:
            os.close(gate)
        send(self.control, {"ended": pid, "status": os.waitstatus_to_exitcode(status)})

    def close(self):
        # Closed by their objects, which would otherwise close these numbers later, when others have them.
        self.selector.close()
        self.control.close()
        for number in [*self.pids, *self.gates.values()]:
            os.close(number)


def find_obstacle(request, files):
    """Returns why a child would differ from an engine that is started anew."""
    if count_threads() > 1:
        return "threads"
    if files.changed():
        return "changed"
    try:
        names = {name.split(".")[0] for name in os.listdir(request["cwd"])}
    except OSError as error:
        return str(error)
    # The working directory comes first in the search for modules.
    hidden = sorted(names & files.top_level)
    return "the working directory hides the module " + hidden[0] if hidden else None


def fork(request, close_server, memory, searches_cwd):
    """Returns the child's pid, the pipe that lets it go on, and why it failed. In the child, returns when it may go on."""
    gate_end, gate = os.pipe()
    problem_end, child_problem = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        for number in (gate_end, gate, problem_end, child_problem):
            os.close(number)
        return -1, None, str(error)
    if pid:
        os.close(gate_end)
        os.close(child_problem)
        with os.fdopen(problem_end, "rb") as pipe:
            problem = pipe.read().decode(errors="replace")
        if problem:
            os.close(gate)
            os.waitpid(pid, 0)
        return pid, gate, problem
    try:
        os.close(gate)
        os.close(problem_end)
        become(request, close_server, memory, searches_cwd)
    except BaseException as error:
        os.write(child_problem, str(error).encode()[:4000] or b"failed")
        os._exit(1)
    os.close(child_problem)
    # Without a worker that knows of it, the engine must not begin.
    if os.read(gate_end, 1) != b"g":
        os._exit(1)
    os.close(gate_end)
    return 0, None, None


def become(request, close_server, memory, searches_cwd):
    """Makes this process what the system makes of a new one."""
    os.setsid()
    close_server()
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


def send(control, message):
    try:
        control.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        os._exit(0)


def run(code):
    """Does what Python does for -m prefect.engine."""
    spec = importlib.util.find_spec(ENGINE)
    sys.argv[:] = [spec.origin]
    sys.orig_argv[:] = [sys.executable, "-m", ENGINE]
    main = vars(sys.modules["__main__"])
    main.clear()
    main.update(
        __name__="__main__",
        __file__=spec.origin,
        __cached__=spec.cached,
        __doc__=None,
        __loader__=spec.loader,
        __package__=spec.parent,
        __spec__=spec,
        __builtins__=__builtins__,
    )
    exec(code, main)
`;

/** What `python -c` is given: it runs the program above in names of its own, because the flow run gets `__main__`. */
export const forkServerStart = `
import sys
scope = {"__name__": "lictor"}
exec(compile(sys.argv.pop(1), "<lictor>", "exec"), scope)
scope["run"](scope["serve"](float(sys.argv[1]), sys.argv[2:]))
`;
