import java.io.*;
import java.math.BigDecimal;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.time.*;
import java.util.*;
import java.util.concurrent.*;
import org.postgresql.*;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.*;
import org.postgresql.util.PSQLException;

/** pgjdbc: statements with and without parameters, in text and binary, batches, COPY, large objects. */
public class Pgjdbc {
    static final String ROWS = "select id, label, size, made from parts order by id";
    static final String[] MODES = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"};
    static final URI DSN = URI.create(System.getenv().getOrDefault("DSN", "postgresql://u:p@h:1/d"));

    interface Work {
        Object run() throws Exception;
    }

    static Connection connect(String... more) throws SQLException {
        Properties login = new Properties();
        String[] who = DSN.getUserInfo().split(":");
        login.setProperty("user", who[0]);
        login.setProperty("password", who[1]);
        login.setProperty("sslrootcert", System.getenv("ROOT"));
        for (int at = 0; at < more.length; at += 2) login.setProperty(more[at], more[at + 1]);
        return DriverManager.getConnection("jdbc:postgresql://" + DSN.getHost() + ":" + DSN.getPort() + DSN.getPath(), login);
    }

    /** What a program can tell an error by. */
    static Object failure(Throwable error) {
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("class", error.getClass().getSimpleName());
        told.put("sqlstate", error instanceof SQLException ? ((SQLException) error).getSQLState() : null);
        told.put("message", error.getMessage());
        if (error instanceof BatchUpdateException) told.put("next", failure(((SQLException) error).getNextException()));
        return told;
    }

    static Object attempt(Work work) {
        try {
            return work.run();
        } catch (Exception error) {
            return failure(error);
        }
    }

    /** The type and the value of a cell, so that equal ones read the same. */
    static Object shown(Object cell) throws Exception {
        if (cell == null) return null;
        if (cell instanceof byte[]) return List.of("byte[]", hex((byte[]) cell));
        if (cell instanceof SQLXML) return List.of("SQLXML", ((SQLXML) cell).getString());
        if (cell instanceof java.sql.Array) return List.of("Array", attempt(() -> listed(((java.sql.Array) cell).getArray())));
        return List.of(cell.getClass().getSimpleName(), cell.toString());
    }

    static Object listed(Object array) throws Exception {
        List<Object> all = new ArrayList<>();
        for (int at = 0; at < java.lang.reflect.Array.getLength(array); at++) {
            Object element = java.lang.reflect.Array.get(array, at);
            boolean isInner = element != null && element.getClass().isArray() && !(element instanceof byte[]);
            all.add(isInner ? listed(element) : shown(element));
        }
        return all;
    }

    static String hex(byte[] bytes) {
        StringBuilder text = new StringBuilder();
        for (byte one : bytes) text.append(String.format("%02x", one));
        return text.toString();
    }

    static List<Object> table(ResultSet rows) throws Exception {
        List<Object> all = new ArrayList<>();
        int width = rows.getMetaData().getColumnCount();
        while (rows.next()) {
            List<Object> row = new ArrayList<>();
            for (int column = 1; column <= width; column++) {
                int at = column;
                row.add(attempt(() -> shown(rows.getObject(at))));
            }
            all.add(row);
        }
        return all;
    }

    static Object ask(Connection db, String sql, Object... values) throws Exception {
        try (PreparedStatement statement = db.prepareStatement(sql)) {
            for (int at = 0; at < values.length; at++) statement.setObject(at + 1, values[at]);
            return statement.execute() ? table(statement.getResultSet()) : statement.getUpdateCount();
        }
    }

    static Object mode(String name) throws Exception {
        try (Connection db = connect("sslmode", name)) {
            return ask(db, "select 41 + 1");
        }
    }

    static Object simple() throws Exception {
        List<Object> got = new ArrayList<>();
        for (String form : new String[] {"simple", "extended"}) {
            Connection db = connect("preferQueryMode", form);
            try (Statement statement = db.createStatement()) {
                got.add(table(statement.executeQuery(ROWS)));
                got.add(statement.execute("select 1; update parts set label = label; select 2"));
                do {
                    got.add(statement.getResultSet() == null ? statement.getUpdateCount() : table(statement.getResultSet()));
                } while (statement.getMoreResults() || statement.getUpdateCount() != -1);
                for (String sql : new String[] {"select 1 / 0", "select 1 from missing", "selct 1", "select id from parts where false"}) {
                    got.add(attempt(() -> table(statement.executeQuery(sql))));
                }
            }
        }
        DatabaseMetaData looks = connect().getMetaData();
        got.add(table(looks.getColumns(null, "public", "parts", null)));
        got.add(table(looks.getPrimaryKeys(null, "public", "customers")));
        return got;
    }

    static Object parameters() throws Exception {
        Connection db = connect();
        List<Object> got = new ArrayList<>();
        OffsetDateTime made = OffsetDateTime.parse("2003-04-05T06:07:08Z");
        got.add(ask(db, "select id, label from parts where id = ? and label = ?", 1, "bolt"));
        got.add(ask(db, "select id from parts where id = any(?) order by id", db.createArrayOf("int4", new Integer[] {1, 3})));
        got.add(ask(db, "insert into parts values (?, ?, ?, ?) returning *", 100, "pärt '\\", new BigDecimal("3.75"), made));
        got.add(ask(db, "insert into parts values (?, ?) returning label", 101, null));
        got.add(attempt(() -> ask(db, "insert into parts (id) values (?)", 1)));
        got.add(attempt(() -> ask(db, "select ?::text::int", "x")));
        try (PreparedStatement keys = db.prepareStatement("insert into parts (id) values (102)", Statement.RETURN_GENERATED_KEYS)) {
            keys.execute();
            got.add(table(keys.getGeneratedKeys()));
        }
        got.add(ask(db, "delete from parts where id >= ?", 100));
        return got;
    }

    static Object binary() throws Exception {
        // A negative threshold makes it ask for binary at once.
        Connection db = connect("prepareThreshold", "-1", "binaryTransfer", "true");
        List<Object> got = new ArrayList<>(List.of(ask(db, ROWS)));
        for (String[] column : columns("open")) {
            got.add(attempt(() -> ask(db, "select " + column[1] + " from redacted." + column[0] + " order by id")));
        }
        return got;
    }

    static Object prepared() throws Exception {
        Connection db = connect("prepareThreshold", "2");
        List<Object> got = new ArrayList<>();
        try (PreparedStatement part = db.prepareStatement("select id, label from parts where id = ?")) {
            for (int number = 0; number < 10; number++) {
                part.setInt(1, number % 4);
                got.add(table(part.executeQuery()));
            }
            got.add(part.getMetaData().getColumnTypeName(2));
            got.add(part.getParameterMetaData().getParameterTypeName(1));
        }
        ask(db, "create temp table own as select 1 as n");
        try (PreparedStatement own = db.prepareStatement("select * from own")) {
            for (int number = 0; number < 6; number++) {
                if (number == 4) ask(db, "alter table own add m int");
                got.add(attempt(() -> table(own.executeQuery())));
            }
        }
        return got;
    }

    static Object pipeline() throws Exception {
        Connection db = connect();
        List<Object> got = new ArrayList<>();
        for (boolean twice : new boolean[] {false, true}) {
            try (PreparedStatement part = db.prepareStatement("insert into parts (id, label) values (?, ?)")) {
                for (int number = 0; number < 300; number++) {
                    part.setInt(1, twice && number == 200 ? 1 : (twice ? 500 : 100) + number);
                    part.setString(2, "part " + number);
                    part.addBatch();
                }
                got.add(attempt(() -> Arrays.stream(part.executeBatch()).sum()));
            }
            got.add(ask(db, "select count(*), max(id) from parts"));
        }
        ask(db, "delete from parts where id >= 100");
        return got;
    }

    static Object transaction() throws Exception {
        Connection db = connect(), other = connect();
        String count = "select count(*) from parts where id >= 100";
        List<Object> got = new ArrayList<>();
        db.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        db.setAutoCommit(false);
        ask(db, "insert into parts (id) values (100)");
        Savepoint savepoint = db.setSavepoint("s");
        ask(db, "insert into parts (id) values (101)");
        got.add(List.of(ask(db, count), ask(other, count)));
        got.add(attempt(() -> ask(db, "select 1 / 0")));
        got.add(attempt(() -> ask(db, count)));
        db.rollback(savepoint);
        db.commit();
        got.add(List.of(ask(db, count), ask(other, count)));
        ask(db, "delete from parts where id >= 100");
        db.rollback();
        got.add(ask(db, count));
        db.commit();
        db.setReadOnly(true);
        got.add(attempt(() -> ask(db, "delete from parts")));
        db.rollback();
        got.add(ask(other, "delete from parts where id >= 100"));
        return got;
    }

    static Object copy() throws Exception {
        Connection db = connect();
        CopyManager copies = db.unwrap(PGConnection.class).getCopyAPI();
        List<Object> got = new ArrayList<>();
        for (String rows : new String[] {"100\tone\n101\t\\N\n", "x\ty\n"}) {
            got.add(attempt(() -> copies.copyIn("copy parts (id, label) from stdin", new StringReader(rows))));
        }
        String binary = "copy (select id, label from parts where id = 1) to stdout (format binary)";
        for (String sql : new String[] {"copy parts to stdout", "copy (select id, label from parts) to stdout (format csv, header)", binary}) {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            got.add(copies.copyOut(sql, out));
            got.add(out.toString(StandardCharsets.UTF_8));
        }
        got.add(ask(db, "delete from parts where id >= 100"));
        return got;
    }

    static Object cursor() throws Exception {
        Connection db = connect();
        db.setAutoCommit(false);
        List<Object> got = new ArrayList<>();
        try (Statement statement = db.createStatement()) {
            statement.setFetchSize(70);
            ResultSet rows = statement.executeQuery("select id, word from many order by id");
            long sum = 0;
            while (rows.next()) sum += rows.getInt(1);
            got.add(sum);
        }
        try (Statement statement = db.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
            ResultSet rows = statement.executeQuery("select id, label from parts order by id");
            rows.last();
            got.add(rows.getString(2));
            rows.absolute(1);
            rows.updateString(2, "screw");
            rows.updateRow();
        }
        got.add(ask(db, ROWS));
        db.rollback();
        return got;
    }

    static Object largeObject() throws Exception {
        Connection db = connect();
        db.setAutoCommit(false);
        LargeObjectManager manager = db.unwrap(PGConnection.class).getLargeObjectAPI();
        long number = manager.createLO();
        List<Object> got = new ArrayList<>();
        try (LargeObject large = manager.open(number)) {
            large.write("a large object".repeat(1000).getBytes());
            large.seek(7);
            got.addAll(List.of(hex(large.read(10)), large.tell(), large.size()));
            large.truncate(100);
            got.add(large.size());
        }
        got.add(ask(db, "select lo_get(?::oid, 0, 5)", number));
        manager.delete(number);
        got.add(attempt(() -> manager.open(1)));
        db.rollback();
        return got;
    }

    static Object notify_() throws Exception {
        Connection db = connect(), other = connect();
        PGConnection listener = db.unwrap(PGConnection.class);
        ask(db, "listen news");
        ask(db, "notify news, 'of its own'");
        Map<String, Object> got = new TreeMap<>();
        for (String from : new String[] {"own", "other"}) {
            PGNotification[] notes = listener.getNotifications(10_000);
            got.put(from, List.of(notes[0].getName(), notes[0].getParameter()));
            if (from.equals("own")) ask(other, "select pg_notify('news', 'of another')");
        }
        return got;
    }

    static Object cancel() throws Exception {
        Connection db = connect();
        List<Object> got = new ArrayList<>();
        try (Statement statement = db.createStatement()) {
            Future<Object> running = Executors.newSingleThreadExecutor().submit(() -> attempt(() -> statement.execute("select pg_sleep(60)")));
            while (got.isEmpty()) {
                try {
                    got.add(running.get(500, TimeUnit.MILLISECONDS));
                } catch (TimeoutException late) {
                    statement.cancel();
                }
            }
            // Its own timer does the same.
            statement.setQueryTimeout(1);
            got.add(attempt(() -> statement.execute("select pg_sleep(60)")));
        }
        got.add(ask(db, "select 1"));
        return got;
    }

    static Object restart() throws Exception {
        Connection db = connect();
        List<Object> got = new ArrayList<>(List.of(ask(db, "select 1")));
        System.out.println("ready");
        System.out.flush();
        System.in.read();
        got.add(attempt(() -> ask(db, "select 2")));
        got.add(db.isClosed());
        got.add(ask(connect(), "select 3"));
        return got;
    }

    static List<String[]> columns(String prefix) {
        List<String[]> all = new ArrayList<>();
        for (String table : new String[] {"scalars", "arrays"}) {
            for (int number = 0; number < Integer.parseInt(System.getenv("TYPES")); number++) all.add(new String[] {table, prefix + "_" + number});
        }
        return all;
    }

    static Object types() throws Exception {
        Connection db = connect();
        Map<String, Object> got = new LinkedHashMap<>();
        for (String[] column : columns("open")) {
            try (Statement statement = db.createStatement()) {
                ResultSet rows = statement.executeQuery("select " + column[1] + " from redacted." + column[0] + " where id = 1");
                rows.next();
                String sql = "update written_" + column[0] + " set " + column[1] + " = ? returning " + column[1] + "::text";
                Object read = attempt(() -> shown(rows.getObject(1)));
                got.put(column[0] + "." + column[1], Arrays.asList(read, attempt(() -> ask(db, sql, rows.getObject(1)))));
            }
        }
        return got;
    }

    static Object masked() throws Exception {
        Map<String, Object> got = new LinkedHashMap<>();
        for (String threshold : new String[] {"5", "-1"}) {
            Connection db = connect("prepareThreshold", threshold);
            String form = threshold.equals("5") ? "" : "binary ";
            got.put(form + "customers", ask(db, "select email, city from customers order by id"));
            for (String schema : System.getenv("SCHEMAS").split(",")) {
                for (String[] column : columns("secret")) {
                    String sql = "select " + column[1] + ", " + column[1].replace("secret", "open") + " from " + schema + "." + column[0] + " order by id";
                    got.put(form + schema + "." + column[0] + "." + column[1], attempt(() -> ask(db, sql)));
                }
            }
        }
        return got;
    }

    static String json(Object value) {
        if (value == null || value instanceof Number || value instanceof Boolean) return String.valueOf(value);
        StringJoiner parts;
        if (value instanceof List) {
            parts = new StringJoiner(",", "[", "]");
            for (Object element : (List<?>) value) parts.add(json(element));
        } else if (value instanceof Map) {
            parts = new StringJoiner(",", "{", "}");
            for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) parts.add(json(entry.getKey()) + ":" + json(entry.getValue()));
        } else {
            StringBuilder text = new StringBuilder("\"");
            for (char letter : value.toString().toCharArray()) {
                boolean isPlain = letter >= ' ' && letter < 127 && letter != '"' && letter != '\\';
                text.append(isPlain ? letter : String.format("\\u%04x", (int) letter));
            }
            return text.append('"').toString();
        }
        return parts.toString();
    }

    public static void main(String[] arguments) throws Exception {
        TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
        Map<String, Work> features = new LinkedHashMap<>();
        for (String name : MODES) features.put("sslmode " + name, () -> mode(name));
        features.put("simple", Pgjdbc::simple);
        features.put("parameters", Pgjdbc::parameters);
        features.put("binary", Pgjdbc::binary);
        features.put("prepared", Pgjdbc::prepared);
        features.put("pipeline", Pgjdbc::pipeline);
        features.put("transaction", Pgjdbc::transaction);
        features.put("copy", Pgjdbc::copy);
        features.put("cursor", Pgjdbc::cursor);
        features.put("large_object", Pgjdbc::largeObject);
        features.put("notify", Pgjdbc::notify_);
        features.put("cancel", Pgjdbc::cancel);
        features.put("password", () -> attempt(() -> connect("password", "wrong")));
        features.put("restart", Pgjdbc::restart);
        features.put("types", Pgjdbc::types);
        features.put("masked", Pgjdbc::masked);
        if (arguments[0].equals("features")) {
            Map<String, Object> listed = new LinkedHashMap<>();
            listed.put("version", "pgjdbc " + org.postgresql.util.DriverInfo.DRIVER_VERSION);
            listed.put("features", new ArrayList<>(features.keySet()));
            System.out.println(json(listed));
        } else {
            System.out.println(json(features.get(arguments[0]).run()));
        }
        System.exit(0);
    }
}
