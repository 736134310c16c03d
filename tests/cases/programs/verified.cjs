// Verifies whom it meets, and prints what it reads.
const fs = require("fs");
const path = require("path");

// Where `cargo xtask setup` puts packages.
process.env.NODE_PATH = path.resolve(__dirname, "../../../target/node/node_modules");
require("module").Module._initPaths();

const [port, root] = process.argv.slice(2);

async function main() {
  const { Client } = require("pg");
  const login = { host: "localhost", port: Number(port), database: "postgres", user: "postgres" };
  const client = new Client({ ...login, password: "clear-secret", ssl: { ca: fs.readFileSync(root) } });
  await client.connect();
  for (let time = 0; time < 8; time++) {
    const { rows } = await client.query("select id, city, email from customers where id = $1", [1]);
    console.log(Object.values(rows[0]).join("|"));
  }
  await client.end();
}

main().catch((error) => {
  console.error(String(error));
  process.exit(1);
});
