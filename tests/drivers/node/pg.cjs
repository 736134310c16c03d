// node-postgres: the protocol in JavaScript.
const fs = require("node:fs");
const { Readable } = require("node:stream");
const pg = require("pg");
const Cursor = require("pg-cursor");
const copies = require("pg-copy-streams");
const common = require("./common.cjs");
const { attempt, table } = common;

async function connect(dsn = common.DSN, more = {}) {
  const client = new pg.Client({ connectionString: dsn, ...more });
  // What ends a connection that does nothing comes as an event.
  client.on("error", () => {});
  await client.connect();
  return client;
}

async function mode(ssl) {
  const client = await connect(common.DSN, { ssl });
  return [client.connection.stream.encrypted === true, table((await client.query("select 41 + 1")).rows)];
}

const ca = () => fs.readFileSync(common.ROOT, "utf8");
const MODES = {
  disable: () => mode(false),
  require: () => mode({ rejectUnauthorized: false }),
  "verify-ca": () => mode({ ca: ca(), checkServerIdentity: () => undefined }),
  "verify-full": () => mode({ ca: ca() }),
};

const ask = (client) => async (sql, values) => (await client.query(sql, values)).rows;

async function simple() {
  const client = await connect();
  const seen = ({ command, rowCount, rows, fields }) => ({
    command, rowCount, rows: table(rows), fields: fields.map(({ name, dataTypeID, dataTypeModifier, format, columnID }) => [name, dataTypeID, dataTypeModifier, format, columnID]),
  });
  const got = { rows: seen(await client.query(common.ROWS)) };
  got.several = (await client.query("select 1; update parts set label = label; select 2")).map(seen);
  got.none = seen(await client.query("select id from parts where false"));
  for (const sql of ["select 1 / 0", "select 1 from missing", "selct 1"]) got[sql] = await attempt(client.query(sql));
  got.array = (await client.query({ text: common.ROWS, rowMode: "array" })).rows.map((row) => row.length);
  return got;
}

async function parameters() {
  const client = await connect();
  const tell = ask(client);
  const made = new Date("2003-04-05T06:07:08Z");
  const got = { found: table(await tell("select id, label from parts where id = $1 and label = $2", [1, "bolt"])) };
  got.list = table(await tell("select id from parts where id = any($1) order by id", [[1, 3]]));
  got.inserted = table(await tell("insert into parts values ($1, $2, $3, $4) returning *", [100, "pärt '\\", "3.75", made]));
  got.null = table(await tell("insert into parts values ($1, $2) returning label", [101, null]));
  got.bytes = table(await tell("select $1::bytea, $2::jsonb", [Buffer.from([0, 1]), { a: [1] }]));
  got.twice = await attempt(tell("insert into parts (id) values ($1)", [1]));
  got.unread = await attempt(tell("select $1::int", ["x"]));
  await tell("delete from parts where id >= $1", [100]);
  return got;
}

async function binary() {
  const client = await connect();
  const got = {};
  for (const sql of [common.ROWS, "select 7::int8, 'ä'::text, '\\x0001'::bytea, 1.5::float8, true"]) {
    got[sql] = table((await client.query({ text: sql, binary: true, rowMode: "array" })).rows);
  }
  return got;
}

async function prepared() {
  const client = await connect();
  const got = [];
  for (let n = 0; n < 10; n++) {
    const part = { name: "part", text: "select id, label from parts where id = $1", values: [n % 4] };
    got.push(table((await client.query(part)).rows));
  }
  await client.query("create temp table own as select 1 as n");
  for (const change of ["select 1", "alter table own add m int"]) {
    await client.query(change);
    const rows = await attempt(client.query({ name: "own", text: "select * from own" }));
    got.push(rows.rows ? table(rows.rows) : rows);
  }
  return got;
}

async function pipeline() {
  const client = await connect(common.DSN, { pipeline: true });
  const asked = Array.from({ length: 50 }, (_, n) => attempt(client.query("select $1::int, label from parts where id = 1", [n])));
  asked.push(attempt(client.query("select 1 / 0")), attempt(client.query("select 1")));
  return (await Promise.all(asked)).map((got) => (got.rows ? table(got.rows) : got));
}

async function transaction() {
  const [client, other] = [await connect(), await connect()];
  const count = "select count(*) from parts where id >= 100";
  const got = [];
  const both = async () => got.push([await ask(client)(count), await ask(other)(count)]);
  for (const sql of [
    "begin", "insert into parts (id) values (100)", "savepoint s", "insert into parts (id) values (101)", "rollback to s",
    "select 1 / 0", "select 1", "rollback to s", "commit", "begin", "delete from parts where id >= 100", "rollback",
    "delete from parts where id >= 100", "begin read only", "delete from parts", "rollback",
  ]) {
    const seen = await attempt(client.query(sql));
    got.push([sql, seen.command ?? seen]);
    if (!seen.sqlstate) await both();
  }
  return got;
}

async function streamed(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts).toString();
}

async function copy() {
  const client = await connect();
  const into = (sql, text) => new Promise((done, fail) => {
    const stream = client.query(copies.from(sql));
    Readable.from([Buffer.from(text)]).pipe(stream).on("finish", () => done(stream.rowCount)).on("error", fail);
  });
  const got = [await into("copy parts (id, label) from stdin", "100\tone\n101\t\\N\n")];
  for (const sql of ["copy parts to stdout", "copy (select id, label from parts) to stdout (format csv, header)"]) {
    got.push(await streamed(client.query(copies.to(sql))));
  }
  got.push(await attempt(into("copy parts (id, label) from stdin", "x\ty\n")));
  await client.query("delete from parts where id >= 100");
  return got;
}

async function cursor() {
  const client = await connect();
  const opened = client.query(new Cursor("select id, word from many where id > $1 order by id", [10]));
  const got = [table(await opened.read(2)), (await opened.read(100)).length, table(await opened.read(1))];
  await opened.close();
  return [...got, table(await ask(client)("select 1"))];
}

async function largeObject() {
  const tell = ask(await connect());
  const [{ number }] = await tell("select lo_from_bytea(0, $1) as number", [Buffer.from("a large object")]);
  const got = [table(await tell("select lo_get($1), lo_get($1, 2, 5)", [number]))];
  await tell("select lo_put($1, 2, $2)", [number, Buffer.from("LARGE")]);
  got.push(table(await tell("select lo_get($1)", [number])), table(await tell("select lo_unlink($1)", [number])));
  return [...got, await attempt(tell("select lo_get(1)"))];
}

async function notify() {
  const [client, other] = [await connect(), await connect()];
  const next = () => new Promise((done) => client.once("notification", ({ channel, payload }) => done([channel, payload])));
  await client.query("listen news");
  let note = next();
  await client.query("notify news, 'of its own'");
  const got = { own: await note };
  note = next();
  await other.query("select pg_notify('news', 'of another')");
  got.other = await note;
  return got;
}

async function cancel() {
  const client = await connect();
  const query = new pg.Query("select pg_sleep(60)");
  const ended = new Promise((done, fail) => query.on("end", done).on("error", fail));
  client.query(query);
  // A second client of the same settings carries the request.
  const stop = () => {
    const { host, port, ssl } = client;
    new pg.Client({ host, port, ssl }).cancel(client, query);
  };
  return [await common.interrupted(ended, stop), table(await ask(client)("select 1"))];
}

const password = () => attempt(connect(common.DSN.replace("clear-secret", "wrong")));

async function restart() {
  const client = await connect();
  const got = [table(await ask(client)("select 1"))];
  await common.untilRestarted();
  got.push(await attempt(ask(client)("select 2")), table(await ask(await connect())("select 3")));
  return got;
}

const features = Object.fromEntries(Object.entries(MODES).map(([name, work]) => [`sslmode ${name}`, work]));
const types = async () => common.types(ask(await connect()));
const masked = async () => common.masked(ask(await connect()));
Object.assign(features, {
  simple, parameters, binary, prepared, pipeline, transaction, copy, cursor, large_object: largeObject, notify, cancel, password,
  restart, types, masked,
});
common.run(`node-postgres ${require("pg/package.json").version}`, features);
