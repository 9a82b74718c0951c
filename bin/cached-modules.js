// Loads the files of dist/ with the code that `npm run build` has compiled, for a Node.js without a compile cache of its own and
// for the single executable.
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { Script } = require("node:vm");

const directory = join(__dirname, "..", "dist");
const wrapper = ["(function(exports,require,module,__filename,__dirname){", "\n})"];

/** The loaded files by name. */
const modules = new Map();

/** Returns the path of the cached code of a file in dist/. It is used by the same release of V8 only, which V8 checks itself. */
function cacheFile(name) {
  return `cache/${name}.${process.arch}`;
}

/** Reads a file of dist/. The single executable replaces it. Throws an Error if there is no such file. */
let read = (file) => readFileSync(join(directory, file));

/** Loads a file of dist/ and returns its exports. */
function load(name) {
  const loaded = modules.get(name);
  if (loaded) return loaded.exports;
  const filename = join(directory, name);
  const source = read(name).toString("latin1");
  const script = new Script(wrapper.join(source), {
    filename,
    columnOffset: -wrapper[0].length,
    cachedData: readCache(name),
  });
  const module = { exports: {}, script };
  modules.set(name, module);
  script.runInThisContext()(module.exports, requireFrom, module, filename, directory);
  return module.exports;
}

function readCache(name) {
  try {
    return read(cacheFile(name));
  } catch {
    return undefined;
  }
}

function requireFrom(id) {
  return id.startsWith("./") ? load(id.slice(2)) : require(id);
}

/** Makes `load` read files by another function. */
function readBy(otherRead) {
  read = otherRead;
}

module.exports = { load, modules, cacheFile, readBy, directory };
