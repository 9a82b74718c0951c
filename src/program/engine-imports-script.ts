// The part of the fork server's Python that imports Prefect's engine and prepares what each flow run would do again.

/** Defines import_all, complete_models, TlsContexts, Files and count_threads. */
export const engineImportsScript: string = `
import importlib, os, ssl, sys, threading

# These modules are what a flow run imports until it runs. Those that a release does not have are skipped.
NEEDED = ["prefect", "prefect.flow_engine"]
USUAL = (
    "prefect.task_engine prefect._internal.metrics prefect._internal.states prefect._internal.observers "
    "prefect._internal._observation_delivery prefect.concurrency._asyncio prefect.concurrency._sync "
    "prefect.concurrency.services prefect.utilities.visualization prefect.deployments.steps.core "
    "prefect.runner.storage anyio._backends._asyncio encodings.idna rich._emoji_codes pydantic.v1"
).split()
# These make a TLS context for each client, also for an API without TLS. A flow run makes about ten of them.
TLS_USERS = ["prefect.client.orchestration", "prefect._internal.version_checking", "prefect._internal.websockets"]
TLS_CONTEXTS = 10


def import_all(preload):
    """Imports the engine and the modules in preload. Returns why modules are refused. Stops at one that starts a thread."""
    refused = []
    for name in NEEDED:
        importlib.import_module(name)
    for name in USUAL:
        try:
            importlib.import_module(name)
        except ImportError:
            pass
    for name in preload:
        try:
            importlib.import_module(name)
        except Exception as error:
            refused.append({"module": name, "why": "cannot be imported (%s: %s)" % (type(error).__name__, error)})
        if count_threads() > 1:
            refused.append({"module": name, "why": "starts a thread when it is imported"})
            break
    return refused


def complete_models():
    """Does what Pydantic puts off until one of Prefect's models is used for the first time."""
    import pydantic

    models = pydantic.BaseModel.__subclasses__()
    for model in models:
        models += model.__subclasses__()
        if model.__module__.startswith("prefect.") and not getattr(model, "__pydantic_complete__", True):
            model.model_rebuild(raise_errors=False)


class TlsContexts:
    """The module ssl for Prefect's clients, with contexts that have read the certificates, which takes 20 ms. Each is used once."""

    def __init__(self, file):
        self.file = file
        self.contexts = [ssl.create_default_context(cafile=file) for _ in range(TLS_CONTEXTS)]

    def __getattr__(self, name):
        return getattr(ssl, name)

    def create_default_context(self, *args, **options):
        try:
            if not args and options == {"cafile": self.file}:
                return self.contexts.pop()
        except IndexError:
            pass
        return ssl.create_default_context(*args, **options)

    @classmethod
    def prepare(cls):
        """Gives contexts to the modules that use the usual certificates. Returns the file of the certificates, or None."""
        users = [module for module in map(sys.modules.get, TLS_USERS) if getattr(module, "ssl", None) is ssl]
        try:
            import certifi
            import prefect.settings

            file = prefect.settings.PREFECT_API_SSL_CERT_FILE.value() or certifi.where()
            if not users or not os.path.isabs(file):
                return None
            contexts = cls(file)
        except Exception:
            return None
        for module in users:
            module.ssl = contexts
        return file


def count_threads():
    return len(os.listdir("/proc/self/task"))


class Files:
    """The files that were imported or read, and the directories where modules are installed."""

    def __init__(self, read):
        paths = {*settings_files(), *sys.path, *read}
        paths |= {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        self.seen = {path: stamp(path) for path in paths if isinstance(path, str)}
        self.top_level = {name.partition(".")[0] for name in sys.modules} - {"__main__"}

    def changed(self):
        return any(stamp(path) != seen for path, seen in self.seen.items())


def settings_files():
    import prefect.settings

    paths = [os.path.join(sys.prefix, "pyvenv.cfg")]
    for name in ["PREFECT_PROFILES_PATH", "PREFECT_LOGGING_SETTINGS_PATH"]:
        try:
            paths.append(str(getattr(prefect.settings, name).value()))
        except Exception:
            pass
    return paths


def stamp(path):
    try:
        found = os.stat(path)
        return found.st_mtime_ns, found.st_size, found.st_ino
    except OSError:
        return None
`;
