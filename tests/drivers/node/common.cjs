// What the Node programs have in common: where they connect, and how they write down what they saw.
const readline = require("node:readline");

const { DSN = "", ROOT = "", TYPES = "0", SCHEMAS = "" } = process.env;
const ROWS = "select id, label, size, made from parts order by id";
const MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

// Names of a column of every type, and of one of its arrays, with the table that has it.
function columns(prefix) {
  return ["scalars", "arrays"].flatMap((table) => Array.from({ length: Number(TYPES) }, (_, number) => [table, `${prefix}_${number}`]));
}

// The type and the value of a cell, so that equal ones read the same.
function shown(cell) {
  if (cell === null || cell === undefined) return null;
  if (Array.isArray(cell)) return ["list", cell.map(shown)];
  if (Buffer.isBuffer(cell) || cell instanceof Uint8Array) return ["bytes", Buffer.from(cell).toString("hex")];
  if (cell instanceof Date) return ["Date", Number.isNaN(cell.getTime()) ? "invalid" : cell.toISOString()];
  if (typeof cell === "bigint") return ["bigint", String(cell)];
  if (typeof cell === "object") return [cell.constructor?.name ?? "object", JSON.stringify(cell)];
  return [typeof cell, String(cell)];
}

function table(rows) {
  return rows.map((row) => (Array.isArray(row) ? row : Object.values(row)).map(shown));
}

// What a program can tell an error by.
function failure(error) {
  const { code = null, detail = null, hint = null, position = null, table_name = null, constraint = null, column = null } = error;
  return { class: error.name, sqlstate: code, message: error.message, detail, hint, position, table_name, constraint, column };
}

async function attempt(work) {
  try {
    return await (typeof work === "function" ? work() : work);
  } catch (error) {
    return failure(error);
  }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Waits for what takes long, and cancels it, as often as that takes; what came of it.
async function interrupted(running, cancel) {
  let ended = false;
  const result = attempt(running).finally(() => (ended = true));
  for (;;) {
    await Promise.race([result, pause(500)]);
    if (ended) return result;
    await cancel();
  }
}

// Has the server restarted.
function untilRestarted() {
  const lines = readline.createInterface({ input: process.stdin });
  console.log("ready");
  return new Promise((done) => lines.once("line", () => (lines.close(), done())));
}

// Writes back what was read of every type, and reads it as text. `ask` takes a statement and its parameters.
async function types(ask) {
  const got = {};
  for (const [kind, column] of columns("open")) {
    const cells = await attempt(ask(`select ${column} from redacted.${kind} where id = 1`));
    const name = `${kind}.${column}`;
    if (!Array.isArray(cells)) {
      got[name] = cells;
      continue;
    }
    const cell = Object.values(cells[0])[0];
    const back = await attempt(() => ask(`update written_${kind} set ${column} = $1 returning ${column}::text`, [cell]));
    got[name] = [shown(cell), Array.isArray(back) ? table(back) : back];
  }
  return got;
}

async function masked(ask) {
  const got = { customers: table(await ask("select email, city from customers order by id")) };
  for (const schema of SCHEMAS.split(",")) {
    for (const [kind, column] of columns("secret")) {
      const sql = `select ${column}, ${column.replace("secret", "open")} from ${schema}.${kind} order by id`;
      const rows = await attempt(ask(sql));
      got[`${schema}.${kind}.${column}`] = Array.isArray(rows) ? table(rows) : rows;
    }
  }
  return got;
}

// Tries the feature that the command line names, or lists all.
async function run(version, features) {
  const wanted = process.argv[2];
  if (wanted === "features") return console.log(JSON.stringify({ version, features: Object.keys(features) }));
  try {
    const seen = JSON.stringify(await features[wanted]());
    // What is left of a pipe's text at the exit is lost.
    process.stdout.write(`${seen}\n`, () => process.exit(0));
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
}

module.exports = { DSN, ROOT, ROWS, MODES, attempt, failure, interrupted, masked, pause, run, shown, table, types, untilRestarted };
