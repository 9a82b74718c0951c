#!/usr/bin/env node
import "../dist/lictor.js";
