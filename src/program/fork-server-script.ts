// The Python program that imports Prefect's engine once and forks a process for each flow run.

import { engineImportsScript } from "./engine-imports-script.ts";
import { forkedChildScript } from "./forked-child-script.ts";

/**
 * Takes the idle time in seconds, and then the modules to import besides the engine. Talks with the worker over file
 * descriptor 3, in lines of JSON. `ForkServer` has the messages.
 *
 * A forked process is the same as a new one as far as a flow can tell. It has its own session, environment, directory and
 * output. Prefect's settings are those of the import, so the environment must be the same apart from the variables
 * `PREFECT__*`, which are only read later. The process waits until the worker has stored its pid.
 */
export const forkServerScript: string = String.raw`${engineImportsScript}${forkedChildScript}
import gc, selectors, socket, time

# A child that was forked before its request ends after this time, because files may change.
EXPECTED_SECONDS = 1


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
        self.expected = None  # a child without a request, and the time of its fork
        self.pids = {}  # by pidfd
        self.gates = {}  # by pid
        self.selector = selectors.DefaultSelector()
        self.selector.register(control, selectors.EVENT_READ)

    def wait(self, idle_seconds):
        timeout = EXPECTED_SECONDS if self.expected else None if self.pids else idle_seconds
        events = self.selector.select(timeout)
        if not events:
            if not self.expected:
                os._exit(0)
            self.discard()
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
            elif "expect" in request:
                self.expect()
            else:
                self.start(request)
            if self.is_child:
                return

    def expect(self):
        """Forks a child before the request of its flow run comes."""
        if self.expected is None and not find_obstacle(self.files):
            child = self.fork()
            if isinstance(child, Child):
                self.expected = child, time.monotonic()

    def discard(self):
        child, _ = self.expected
        self.expected = None
        child.discard()

    def start(self, request):
        if self.expected and (self.expected[0].has_ended() or time.monotonic() - self.expected[1] > EXPECTED_SECONDS):
            self.discard()
        problem = hidden_module(request, self.files)
        if problem is None and self.expected is None:
            problem = find_obstacle(self.files)
        if problem is None:
            child = self.expected[0] if self.expected else self.fork()
            if self.is_child:
                return
            self.expected = None
            problem = child.become(request) if isinstance(child, Child) else child
        if problem:
            send(self.control, {"id": request["id"], "problem": problem})
            return
        pidfd = os.pidfd_open(child.pid)
        self.pids[pidfd] = child.pid
        self.gates[child.pid] = child.gate
        self.selector.register(pidfd, selectors.EVENT_READ)
        send(self.control, {"id": request["id"], "pid": child.pid})

    def fork(self):
        """Returns a Child, or why it failed. In the child, returns None when it may go on."""
        try:
            child = fork(self.close, self.memory, self.searches_cwd)
        except OSError as error:
            return str(error)
        self.is_child = child is None
        return child

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


def find_obstacle(files):
    """Returns why any child would differ from an engine that is started anew."""
    if count_threads() > 1:
        return "threads"
    return "changed" if files.changed() else None


def hidden_module(request, files):
    """Returns why this child would differ from an engine that is started anew."""
    try:
        names = {name.split(".")[0] for name in os.listdir(request["cwd"])}
    except OSError as error:
        return str(error)
    # The working directory comes first in the search for modules.
    hidden = sorted(names & files.top_level)
    return "the working directory hides the module " + hidden[0] if hidden else None


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
