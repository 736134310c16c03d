// postgres.js: everything pipelined, prepared statements that it keeps.
const fs = require("node:fs");
const { Readable } = require("node:stream");
const postgres = require("postgres");
const common = require("./common.cjs");
const { attempt, table } = common;

const connect = (more = {}, dsn = common.DSN) => postgres(dsn, { max: 1, onnotice: () => {}, ...more });

async function mode(ssl) {
  return table(await connect({ ssl })`select 41 + 1`);
}

const MODES = {
  disable: () => mode(false),
  allow: () => mode("allow"),
  prefer: () => mode("prefer"),
  require: () => mode("require"),
  "verify-ca": () => mode({ ca: fs.readFileSync(common.ROOT), checkServerIdentity: () => undefined }),
  "verify-full": () => mode({ ca: fs.readFileSync(common.ROOT) }),
};

async function simple() {
  const sql = connect();
  const rows = await sql.unsafe(common.ROWS);
  const got = { rows: table(rows), columns: rows.columns.map(({ name, type, table, number }) => [name, type, table > 0, number]) };
  got.several = (await sql.unsafe("select 1; update parts set label = label; select 2")).map((rows) => [rows.command, rows.count, table(rows)]);
  for (const text of ["select 1 / 0", "select 1 from missing", "selct 1"]) {
    got[text] = [await attempt(sql.unsafe(text)), await attempt(sql.unsafe(text).simple())];
  }
  return got;
}

async function parameters() {
  const sql = connect();
  const row = { id: 100, label: "pärt '\\", size: "3.75", made: new Date("2003-04-05T06:07:08Z") };
  const got = { found: table(await sql`select id, label from parts where id = ${1} and label = ${"bolt"}`) };
  got.list = table(await sql`select id from parts where id in ${sql([1, 3])} order by id`);
  got.array = table(await sql`select id from parts where id = any(${[1, 3]}) order by id`);
  got.inserted = table(await sql`insert into parts ${sql(row)} returning *`);
  got.null = table(await sql`insert into parts values (${101}, ${null}) returning label`);
  got.many = table(await sql`insert into parts ${sql([{ id: 102 }, { id: 103 }])} returning id`);
  got.json = table(await sql`select ${sql.json({ a: [1] })}::jsonb, ${Buffer.from([0, 1])}::bytea`);
  got.twice = await attempt(sql`insert into parts (id) values (${1})`);
  got.unread = await attempt(sql`select ${"x"}::int`);
  await sql`delete from parts where id >= ${100}`;
  return got;
}

async function prepared() {
  const sql = connect();
  const got = [];
  for (let n = 0; n < 10; n++) got.push(table(await sql`select id, label from parts where id = ${n % 4}`));
  await sql`create temp table own as select 1 as n`;
  for (const change of ["select 1", "alter table own add m int"]) {
    await sql.unsafe(change);
    const rows = await attempt(sql`select * from own`);
    got.push(Array.isArray(rows) ? table(rows) : rows);
  }
  const statement = await sql`select id, label from parts where id = ${1}`.describe();
  got.push([statement.types, statement.columns.map(({ name, type }) => [name, type])]);
  return got;
}

async function pipeline() {
  const sql = connect();
  const asked = Array.from({ length: 50 }, (_, n) => attempt(sql`select ${n}::int, label from parts where id = 1`));
  asked.push(attempt(sql`select 1 / ${0}::int`), attempt(sql`select 1`));
  return (await Promise.all(asked)).map((got) => (Array.isArray(got) ? table(got) : got));
}

async function transaction() {
  const [sql, other] = [connect(), connect()];
  const count = (sql) => sql`select count(*) from parts where id >= 100`;
  const got = [];
  const both = async (db) => got.push([table(await count(db)), table(await count(other))]);
  await sql.begin(async (db) => {
    await db`insert into parts (id) values (100)`;
    await both(db);
    got.push(await attempt(db.savepoint(async (inner) => {
      await inner`insert into parts (id) values (101)`;
      await both(inner);
      await inner`select 1 / 0`;
    })));
    await both(db);
  });
  await both(sql);
  got.push(await attempt(sql.begin("isolation level serializable read only", (db) => db`delete from parts`)));
  await both(sql);
  await sql`delete from parts where id >= 100`;
  await both(sql);
  return got;
}

async function copy() {
  const sql = connect();
  const into = async (text) => {
    const stream = await sql`copy parts (id, label) from stdin`.writable();
    await new Promise((done, fail) => Readable.from([Buffer.from(text)]).pipe(stream).on("finish", done).on("error", fail));
  };
  await into("100\tone\n101\t\\N\n");
  const got = [];
  for (const text of ["copy parts to stdout", "copy (select id, label from parts) to stdout (format csv, header)"]) {
    const parts = [];
    for await (const part of await sql.unsafe(text).readable()) parts.push(part);
    got.push(Buffer.concat(parts).toString());
  }
  await sql`delete from parts where id >= 100`;
  return got;
}

async function cursor() {
  const sql = connect();
  const got = [];
  await sql`select id, word from many where id > ${10} order by id`.cursor(70, (rows) => void got.push([rows.length, table(rows.slice(0, 1))]));
  for await (const rows of sql`select id from many order by id`.cursor(100)) got.push(rows.length);
  await sql`select id from many order by id limit 3`.forEach((row) => got.push(row.id));
  return got;
}

async function largeObject() {
  const sql = connect();
  // It has a transaction of its own until it is closed.
  const large = await sql.largeObject();
  await large.write(Buffer.from("a large object"));
  await large.seek(2);
  const got = [table(await large.read(5)), table(await large.tell()), table(await large.size())];
  await large.close();
  const [{ number }] = await sql`select lo_from_bytea(0, ${Buffer.from("another")}) as number`;
  got.push(table(await sql`select lo_get(${number})`), table(await sql`select lo_unlink(${number})`));
  return [...got, await attempt(sql`select lo_get(1)`)];
}

async function notify() {
  const [sql, other] = [connect(), connect()];
  const notes = [];
  let come;
  await sql.listen("news", (payload) => (notes.push(payload), come?.()));
  const next = async (work) => {
    const note = new Promise((done) => (come = done));
    await work();
    await note;
    return notes.pop();
  };
  // Who listens has a connection of its own.
  return { other: await next(() => sql.notify("news", "of its own")), another: await next(() => other`select pg_notify('news', 'of another')`) };
}

async function cancel() {
  const sql = connect();
  const query = sql`select pg_sleep(60)`;
  return [await common.interrupted(query.execute(), () => query.cancel()), table(await sql`select 1`)];
}

const password = () => attempt(connect({}, common.DSN.replace("clear-secret", "wrong"))`select 1`);

async function restart() {
  const sql = connect();
  const got = [table(await sql`select 1`)];
  await common.untilRestarted();
  // It connects anew by itself.
  return [...got, await attempt(sql`select 2`.then(table)), table(await sql`select 3`)];
}

const ask = (sql) => (text, values) => sql.unsafe(text, values);
const types = () => common.types(ask(connect()));
const masked = () => common.masked(ask(connect()));
const features = Object.fromEntries(Object.entries(MODES).map(([name, work]) => [`sslmode ${name}`, work]));
Object.assign(features, {
  simple, parameters, prepared, pipeline, transaction, copy, cursor, large_object: largeObject, notify, cancel, password, restart,
  types, masked,
});
// Its description is not among what it exports.
const description = `${process.env.NODE_PATH}/postgres/package.json`;
common.run(`postgres.js ${JSON.parse(fs.readFileSync(description, "utf8")).version}`, features);
