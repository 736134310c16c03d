// Ordinary Node programs look at a schema, make one of their own, fill and read it. Prints what they got.
const { spawnSync } = require("child_process");
const fs = require("fs");
const os = require("os");
const path = require("path");

// Where `cargo xtask setup` puts packages.
process.env.NODE_PATH = path.resolve(__dirname, "../../../target/node/node_modules");
require("module").Module._initPaths();

const [task, port, database] = process.argv.slice(2);
const login = { host: "127.0.0.1", port: Number(port), database, username: "postgres", password: "clear-secret" };

const url = `postgresql://postgres:clear-secret@127.0.0.1:${port}/${database}`;

const print = (what, found) => console.log(what, JSON.stringify(found));
// Cells in classified columns stand in lines of their own.
const masked = (...cells) => console.log("masked", ...cells);
const byName = (one, other) => (one.name < other.name ? -1 : 1);

const MEMBERS = [
  { city: "Lisbon", email: "ana.canary@example.org", joined: new Date("2020-02-03T04:05:06Z"), tags: ["a", "b c"] },
  { city: "Porto", email: "rui.canary@example.org", joined: null, tags: [] },
];

async function typeorm() {
  const { DataSource } = require("typeorm");
  const source = new DataSource({ type: "postgres", ...login });
  await source.initialize();
  const runner = source.createQueryRunner();
  print("schemas", [await runner.getCurrentDatabase(), await runner.getCurrentSchema(), await runner.hasSchema("shop")]);
  for (const table of (await runner.getTables(["shop.customers", "shop.orders", "shop.notes"])).sort(byName)) {
    print(table.name, { ...table, columns: table.columns.sort(byName) });
  }
  await source.destroy();
}

async function typeormMembers() {
  const { DataSource, EntitySchema, MoreThan } = require("typeorm");
  const Member = new EntitySchema({
    name: "member",
    columns: {
      id: { type: "int", primary: true, generated: true },
      city: { type: "text" },
      email: { type: "varchar", length: 60, unique: true },
      joined: { type: "timestamptz", nullable: true },
      tags: { type: "text", array: true },
    },
    relations: { sent: { type: "one-to-many", target: "parcel", inverseSide: "owner" } },
  });
  const Parcel = new EntitySchema({
    name: "parcel",
    columns: { id: { type: "int", primary: true, generated: true }, weight: { type: "numeric" } },
    relations: { owner: { type: "many-to-one", target: "member", inverseSide: "sent", onDelete: "CASCADE" } },
  });
  const source = new DataSource({ type: "postgres", ...login, entities: [Member, Parcel], synchronize: true });
  await source.initialize();
  const members = source.getRepository(Member);
  const saved = await members.save(MEMBERS.map((member) => ({ ...member })));
  await source.getRepository(Parcel).save([{ weight: "1.50", owner: saved[0] }, { weight: "2", owner: saved[0] }]);
  for (const { email, ...others } of await members.find({ relations: { sent: true }, order: { id: "ASC", sent: { id: "ASC" } } })) {
    print("member", others);
    masked(email);
  }
  print("counted", await members.countBy({ id: MoreThan(0) }));
  const found = await members.createQueryBuilder("m").leftJoin("m.sent", "s").select(["m.city AS city", "sum(s.weight) AS weight"])
    .groupBy("m.city").orderBy("m.city").getRawMany();
  print("weights", found);
  await members.update({ city: "Porto" }, { city: "Faro" });
  print("moved", await members.find({ select: { id: true, city: true }, order: { id: "ASC" } }));
  await members.delete({ city: "Lisbon" });
  print("left", [await members.count(), await source.getRepository(Parcel).count()]);
  await source.destroy();
  // A second start finds nothing to change.
  const again = new DataSource({ type: "postgres", ...login, entities: [Member, Parcel] });
  await again.initialize();
  print("to change", (await again.driver.createSchemaBuilder().log()).upQueries);
  await again.destroy();
}

async function sequelize() {
  const { Sequelize } = require("sequelize");
  const source = new Sequelize({ dialect: "postgres", ...login, logging: false });
  const looks = source.getQueryInterface();
  print("version", await source.databaseVersion());
  print("schemas", await looks.showAllSchemas());
  print("tables", (await looks.showAllTables()).map((table) => table.tableName ?? table).sort());
  for (const tableName of ["customers", "parts", "orders", "notes"]) {
    const table = { tableName, schema: "shop" };
    print(tableName, await looks.describeTable(table));
    print("indexes", (await looks.showIndex(table)).sort(byName));
    print("references", await looks.getForeignKeyReferencesForTable(table));
    print("constraints", await looks.showConstraint(table));
  }
  await source.close();
}

async function sequelizeMembers() {
  const { Sequelize, DataTypes, Op } = require("sequelize");
  const source = new Sequelize({ dialect: "postgres", ...login, logging: false });
  const Member = source.define("member", {
    city: { type: DataTypes.TEXT, allowNull: false },
    email: { type: DataTypes.STRING(60), unique: true },
    joined: DataTypes.DATE,
    tags: DataTypes.ARRAY(DataTypes.TEXT),
    kind: { type: DataTypes.ENUM("new", "old"), defaultValue: "new" },
    more: DataTypes.JSONB,
  }, { timestamps: false });
  const Parcel = source.define("parcel", { weight: DataTypes.DECIMAL(8, 2) }, { timestamps: false });
  Member.hasMany(Parcel, { onDelete: "cascade" });
  Parcel.belongsTo(Member);
  await source.sync();
  await Member.bulkCreate(MEMBERS.map((member) => ({ ...member, more: { size: 3 } })));
  await source.transaction(async (transaction) => {
    const member = await Member.findOne({ where: { city: "Lisbon" }, transaction, lock: true });
    await Parcel.create({ weight: "1.50", memberId: member.id }, { transaction });
  });
  const members = await Member.findAll({ include: Parcel, order: ["id"] });
  for (const { email, ...others } of members.map((member) => member.toJSON())) {
    print("member", others);
    masked(email);
  }
  print("counted", await Member.count({ where: { more: { size: 3 }, kind: { [Op.ne]: "old" } } }));
  print("weights", await Parcel.sum("weight"));
  print("made", (await Member.create({ city: "Faro", tags: null })).id);
  for (const _ of [1, 2]) {
    const [parcel, isNew] = await Parcel.findOrCreate({ where: { weight: "3.25" } });
    print("parcel", parcel.id, parcel.weight, isNew);
  }
  await Member.upsert({ id: 2, city: "Braga", tags: [] });
  await Member.destroy({ where: { city: "Lisbon" } });
  print("left", await Member.findAll({ attributes: ["id", "city", "kind"], order: ["id"], raw: true }));
  await source.sync({ alter: true });
  await source.close();
}

// A program of a package, in a folder of its own, with these files in it.
async function inFolder(files, work) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "programs-"));
  try {
    for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), text);
    const start = (program, given) => {
      const ran = spawnSync(process.execPath, [path.join(process.env.NODE_PATH, program), ...given], { cwd: folder, encoding: "utf8" });
      if (ran.status !== 0) throw new Error(`${program} ${given}: ${ran.stdout}${ran.stderr}`);
      return ran.stdout;
    };
    return await work(folder, start);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

function drizzle() {
  const config = { dialect: "postgresql", out: "out", schemaFilter: ["shop"], dbCredentials: { url } };
  return inFolder({ "drizzle.config.js": `module.exports = ${JSON.stringify(config)}` }, (folder, start) => {
    start("drizzle-kit/bin.cjs", ["pull", "--config=drizzle.config.js"]);
    for (const name of ["schema.ts", "relations.ts", "meta/0000_snapshot.json"]) {
      console.log(fs.readFileSync(path.join(folder, "out", name), "utf8"));
    }
  });
}

const PRISMA_SCHEMA = `
generator client {
  provider   = "prisma-client-js"
  output     = "./client"
  engineType = "client"
}
datasource db {
  provider = "postgresql"
  url      = "postgresql://"
  schemas  = ["public", "shop"]
}
`;
const PRISMA_MODELS = `
model member {
  id     Int       @id @default(autoincrement())
  city   String    @db.Text
  email  String    @unique @db.VarChar(60)
  joined DateTime? @db.Timestamptz
  tags   String[]
  kind   kind      @default(new)
  sent   parcel[]
  @@index([city, joined(sort: Desc)])
  @@schema("public")
}
model parcel {
  id      Int     @id @default(autoincrement())
  weight  Decimal
  owner   member  @relation(fields: [ownerId], references: [id], onDelete: Cascade)
  ownerId Int
  @@schema("public")
}
enum kind {
  new
  old
  @@schema("public")
}
`;

// Its native engines are not in its packages; that they are looked for is kept from it.
function prismaFolder(models, work) {
  const config = path.join(__dirname, "prisma.config.cjs");
  const own = { CHECKPOINT_DISABLE: "1", DATABASE_URL: url, PRISMA_QUERY_ENGINE_LIBRARY: __filename, PRISMA_SCHEMA_ENGINE_BINARY: __filename };
  Object.assign(process.env, own);
  return inFolder({ "schema.prisma": PRISMA_SCHEMA + models }, (folder, start) => {
    process.env.PRISMA_SCHEMA = path.join(folder, "schema.prisma");
    return work((...given) => start("prisma/build/index.js", [...given, "--config", config]), folder);
  });
}

function prisma() {
  return prismaFolder("", (start) => console.log(start("db", "pull", "--print")));
}

function prismaMembers() {
  return prismaFolder(PRISMA_MODELS, async (start, folder) => {
    start("db", "push", "--skip-generate");
    print("pushed again", start("db", "push", "--skip-generate").includes("already in sync"));
    start("generate");
    await prismaClient(require(path.join(folder, "client")).PrismaClient);
  });
}

async function prismaClient(PrismaClient) {
  const { PrismaPg } = require("@prisma/adapter-pg");
  const source = new PrismaClient({ adapter: new PrismaPg({ connectionString: url }) });
  await source.member.createMany({ data: MEMBERS });
  await source.$transaction(async (all) => {
    const member = await all.member.findFirstOrThrow({ where: { city: "Lisbon" } });
    await all.parcel.createManyAndReturn({ data: [{ weight: "1.5", ownerId: member.id }, { weight: 2, ownerId: member.id }] });
  });
  for (const { email, ...others } of await source.member.findMany({ include: { sent: true }, orderBy: { id: "asc" } })) {
    print("member", others);
    masked(email);
  }
  print("counted", await source.member.count({ where: { tags: { has: "a" }, sent: { some: { weight: { gt: 1 } } } } }));
  print("grouped", await source.parcel.groupBy({ by: ["ownerId"], _sum: { weight: true }, _count: true }));
  print("moved", await source.member.updateMany({ where: { city: "Porto" }, data: { city: "Faro", kind: "old" } }));
  print("upserted", await source.member.upsert({
    where: { id: 2 }, update: { city: "Braga" }, create: { city: "Braga", email: "" }, select: { id: true, city: true, kind: true },
  }));
  print("deleted", await source.member.deleteMany({ where: { city: "Lisbon" } }));
  print("left", [await source.member.count(), await source.parcel.count()]);
  print("raw", await source.$queryRaw`select id, city, kind from member where id > ${0}`);
  await source.$disconnect();
}

const tasks = {
  drizzle, prisma, "prisma-members": prismaMembers, sequelize, "sequelize-members": sequelizeMembers, typeorm, "typeorm-members": typeormMembers,
};
Promise.resolve().then(tasks[task]).catch((error) => {
  console.error("ERROR", error);
  process.exit(1);
});
