// Prisma's client over node-postgres, with its schema pulled from the database. Its native engines are not in its packages.
const fs = require("node:fs");
const path = require("node:path");
const { spawnSync } = require("node:child_process");
const common = require("./common.cjs");
const { shown, table } = common;

const CONFIG = path.join(__dirname, "../../cases/programs/prisma.config.cjs");
const SCHEMA = `
generator client {
  provider   = "prisma-client-js"
  output     = "./client"
  engineType = "client"
}
datasource db {
  provider = "postgresql"
  url      = "postgresql://"
}
`;
// Those of the models' columns that are read and written.
const MODELS = `
model parts {
  id    Int       @id
  label String?
  size  Decimal?  @db.Decimal(8, 2)
  made  DateTime? @db.Timestamptz
}
model many {
  id   Int     @id
  word String?
}
model customers {
  id    Int     @id
  city  String?
  email String?
}
`;
// The client is made when the features are asked for: that takes seconds.
const folder = path.resolve("target/compat/prisma");

function start(file, ...given) {
  const env = {
    ...process.env, CHECKPOINT_DISABLE: "1", DATABASE_URL: common.DSN, PRISMA_QUERY_ENGINE_LIBRARY: __filename,
    PRISMA_SCHEMA_ENGINE_BINARY: __filename, PRISMA_SCHEMA: path.join(folder, file),
  };
  const program = path.join(process.env.NODE_PATH, "prisma/build/index.js");
  const ran = spawnSync(process.execPath, [program, ...given, "--config", CONFIG], { cwd: folder, encoding: "utf8", env });
  if (ran.status !== 0) throw new Error(`${given}: ${ran.stdout}${ran.stderr}`);
  return ran.stdout;
}

function connect(more = {}, dsn = common.DSN) {
  const { PrismaPg } = require("@prisma/adapter-pg");
  const { PrismaClient } = require(path.join(folder, "client"));
  return new PrismaClient({ adapter: new PrismaPg({ connectionString: dsn, ...more }), errorFormat: "minimal" });
}

// Its own code and class, and what the driver said.
async function tried(work) {
  try {
    return await work();
  } catch (error) {
    const { code = null, meta = null } = error;
    return { class: error.name, sqlstate: code, meta, message: error.message };
  }
}

async function mode(ssl) {
  return table(await connect({ ssl }).$queryRawUnsafe("select 41 + 1"));
}

const MODES = {
  disable: () => mode(false),
  require: () => mode({ rejectUnauthorized: false }),
  "verify-ca": () => mode({ ca: fs.readFileSync(common.ROOT, "utf8"), checkServerIdentity: () => undefined }),
  "verify-full": () => mode({ ca: fs.readFileSync(common.ROOT, "utf8") }),
};

async function simple() {
  fs.writeFileSync(path.join(folder, "empty.prisma"), SCHEMA);
  const got = { pulled: start("empty.prisma", "db", "pull", "--print") };
  const db = connect();
  got.rows = table(await db.$queryRawUnsafe(common.ROWS));
  got.changed = await db.$executeRawUnsafe("update parts set label = label");
  for (const sql of ["select 1 / 0", "select 1 from missing", "selct 1"]) got[sql] = await tried(() => db.$queryRawUnsafe(sql));
  return got;
}

async function parameters() {
  const db = connect();
  const made = new Date("2003-04-05T06:07:08Z");
  const got = { made: table([await db.parts.create({ data: { id: 100, label: "pärt '\\", size: "3.75", made } })]) };
  got.many = await db.parts.createMany({ data: Array.from({ length: 300 }, (_, n) => ({ id: 200 + n, label: `part ${n}` })) });
  got.found = table(await db.parts.findMany({ where: { id: { in: [1, 100] }, label: { contains: "T", mode: "insensitive" } }, orderBy: { id: "asc" } }));
  got.page = table(await db.many.findMany({ skip: 10, take: 3, orderBy: { word: "desc" } }));
  got.counted = [await db.parts.count({ where: { id: { gte: 200 } } }), await db.parts.aggregate({ _sum: { size: true }, _max: { label: true } })];
  got.upserted = table([await db.parts.upsert({ where: { id: 100 }, update: { label: "again" }, create: { id: 100 } })]);
  got.raw = table(await db.$queryRaw`select id, label from parts where id = ${1} and label = ${"bolt"}`);
  got.twice = await tried(() => db.parts.create({ data: { id: 1 } }));
  got.none = await tried(() => db.parts.findUniqueOrThrow({ where: { id: 99 } }));
  got.deleted = await db.parts.deleteMany({ where: { id: { gte: 100 } } });
  return got;
}

async function transaction() {
  const [db, other] = [connect(), connect()];
  const counted = (db) => db.parts.count({ where: { id: { gte: 100 } } });
  const got = [];
  await db.$transaction(async (all) => {
    await all.parts.create({ data: { id: 100 } });
    got.push([await counted(all), await counted(other)]);
  }, { isolationLevel: "Serializable" });
  got.push(await tried(() => db.$transaction(async (all) => {
    await all.parts.create({ data: { id: 101 } });
    throw new Error("on purpose");
  })));
  got.push(await tried(() => db.$transaction([db.parts.create({ data: { id: 102 } }), db.parts.create({ data: { id: 1 } })])));
  got.push([await counted(db), await counted(other)]);
  got.push(await db.parts.deleteMany({ where: { id: { gte: 100 } } }));
  return got;
}

async function largeObject() {
  const db = connect();
  const [{ number }] = await db.$queryRaw`select lo_from_bytea(0, ${Buffer.from("a large object")})::int8 as number`;
  const got = [table(await db.$queryRaw`select lo_get(${number}::oid), lo_get(${number}::oid, 2, 5)`)];
  got.push(table(await db.$queryRaw`select lo_unlink(${number}::oid)`));
  return [...got, await tried(() => db.$queryRawUnsafe("select lo_get(1)"))];
}

const password = () => tried(() => connect({}, common.DSN.replace("clear-secret", "wrong")).$queryRawUnsafe("select 1"));

async function restart() {
  const db = connect();
  const got = [table(await db.$queryRawUnsafe("select 1"))];
  await common.untilRestarted();
  for (let n = 0; n < 2; n++) got.push(await tried(async () => table(await db.$queryRawUnsafe("select 2"))));
  return got;
}

// Its raw queries take no type that it does not know, and say so of the clear value as well.
const ask = (db) => (sql, values = []) => tried(() => db.$queryRawUnsafe(sql, ...values));
const types = () => common.types(ask(connect()));
const masked = async () => {
  const db = connect();
  const got = await common.masked(ask(db));
  got.model = (await db.customers.findMany({ orderBy: { id: "asc" } })).map(({ email, city }) => [shown(email), shown(city)]);
  return got;
};

const features = Object.fromEntries(Object.entries(MODES).map(([name, work]) => [`sslmode ${name}`, work]));
Object.assign(features, { simple, parameters, transaction, large_object: largeObject, password, restart, types, masked });
if (process.argv[2] === "features") {
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, "schema.prisma"), SCHEMA + MODELS);
  start("schema.prisma", "generate");
}
common.run(`Prisma ${JSON.parse(fs.readFileSync(`${process.env.NODE_PATH}/@prisma/client/package.json`, "utf8")).version} over node-postgres`, features);
