// Prisma without its native engine: the schema engine in WebAssembly, over node's driver.
const { PrismaPg } = require("@prisma/adapter-pg");
const pg = require("pg");

// The adapter is made for tables of users, and does not know the types of the catalogs' columns: "char", name and
// their arrays. They are named as the engine expects them; what goes over the wire is as it was.
const CHAR = 18;
const KNOWN = new Map([[CHAR, 25], [19, 25], [1002, 1009], [1003, 1009]]);
const COLUMN_OF_CHARACTERS = 6;
let characters = [];

function named(result) {
  const fields = result?.fields ?? [];
  characters = fields.flatMap((field, index) => (field.dataTypeID === CHAR ? [index] : []));
  for (const field of fields) field.dataTypeID = KNOWN.get(field.dataTypeID) ?? field.dataTypeID;
  return result;
}

class Client extends pg.Client {
  query(...given) {
    const done = given.at(-1);
    if (typeof done !== "function") return super.query(...given).then(named);
    return super.query(...given.slice(0, -1), (error, result) => done(error, named(result)));
  }
}

class Adapter extends PrismaPg {
  async connect() {
    const adapter = await super.connect();
    const query = adapter.queryRaw.bind(adapter);
    adapter.queryRaw = async (asked) => {
      const found = await query(asked);
      for (const index of characters) found.columnTypes[index] = COLUMN_OF_CHARACTERS;
      return found;
    };
    return adapter;
  }
}

module.exports = {
  experimental: { adapter: true },
  engine: "js",
  schema: process.env.PRISMA_SCHEMA,
  adapter: async () => new Adapter(new pg.Pool({ connectionString: process.env.DATABASE_URL, Client, allowExitOnIdle: true })),
};
