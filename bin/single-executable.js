// The main script of the single executable: `npm run build:binary`. The files of dist/ are in it as assets.
const { getRawAsset } = require("node:sea");
const { load, readBy } = require("./cached-modules.js");

readBy((file) => Buffer.from(getRawAsset(file)));
load("lictor.cjs");
