import java.io.ByteArrayOutputStream;
import java.sql.*;
import java.util.*;

/** What pgjdbc tells of a database, and what it reads in text and in binary, by statements prepared on the server. */
public class Metadata {
    interface Call { ResultSet of(DatabaseMetaData data) throws SQLException; }

    static final Map<String, Call> CALLS = new LinkedHashMap<>();
    static {
        CALLS.put("getBestRowIdentifier", data -> data.getBestRowIdentifier(null, "shop", "customers", 2, true));
        CALLS.put("getCatalogs", DatabaseMetaData::getCatalogs);
        CALLS.put("getClientInfoProperties", DatabaseMetaData::getClientInfoProperties);
        CALLS.put("getColumnPrivileges", data -> data.getColumnPrivileges(null, "shop", "customers", "%"));
        CALLS.put("getColumns", data -> data.getColumns(null, "shop", "%", "%"));
        CALLS.put("getColumns of pg_catalog", data -> data.getColumns(null, "pg_catalog", "pg_cl%", "%"));
        CALLS.put("getCrossReference", data -> data.getCrossReference(null, "shop", "customers", null, "shop", "orders"));
        CALLS.put("getExportedKeys", data -> data.getExportedKeys(null, "shop", "customers"));
        CALLS.put("getFunctionColumns", data -> data.getFunctionColumns(null, "shop", "%", "%"));
        CALLS.put("getFunctions", data -> data.getFunctions(null, "shop", "%"));
        CALLS.put("getImportedKeys", data -> data.getImportedKeys(null, "shop", "orders"));
        CALLS.put("getIndexInfo", data -> data.getIndexInfo(null, "shop", "customers", false, true));
        CALLS.put("getPrimaryKeys", data -> data.getPrimaryKeys(null, "shop", "customers"));
        CALLS.put("getProcedureColumns", data -> data.getProcedureColumns(null, "shop", "%", "%"));
        CALLS.put("getProcedures", data -> data.getProcedures(null, "shop", "%"));
        CALLS.put("getSchemas", DatabaseMetaData::getSchemas);
        CALLS.put("getTablePrivileges", data -> data.getTablePrivileges(null, "shop", "%"));
        CALLS.put("getTableTypes", DatabaseMetaData::getTableTypes);
        CALLS.put("getTables", data -> data.getTables(null, null, "%", null));
        CALLS.put("getTypeInfo", DatabaseMetaData::getTypeInfo);
        CALLS.put("getUDTs", data -> data.getUDTs(null, "shop", "%", null));
        CALLS.put("getVersionColumns", data -> data.getVersionColumns(null, "shop", "customers"));
    }

    static void print(String mark, ResultSet rows) throws SQLException {
        ResultSetMetaData columns = rows.getMetaData();
        StringJoiner names = new StringJoiner("|");
        for (int at = 1; at <= columns.getColumnCount(); at++)
            names.add(columns.getColumnName(at));
        System.out.println("== " + mark + "\n" + names);
        while (rows.next()) {
            StringJoiner row = new StringJoiner("|");
            for (int at = 1; at <= columns.getColumnCount(); at++)
                row.add(Objects.toString(rows.getString(at), "\\N").replace("\n", " "));
            System.out.println(row);
        }
    }

    static Connection connect(String[] to, String options) throws SQLException {
        return DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + to[0] + "/" + to[1] + "?" + options,
            "postgres", "clear-secret");
    }

    static void described(Connection connection) throws SQLException {
        DatabaseMetaData data = connection.getMetaData();
        System.out.println("== words\n" + String.join("|", data.getSQLKeywords(), data.getNumericFunctions(),
            data.getUserName(), "" + data.getDatabaseMajorVersion(), "" + data.getMaxColumnNameLength()));
        for (Map.Entry<String, Call> call : CALLS.entrySet())
            print(call.getKey(), call.getValue().of(data));
    }

    /** The same rows often enough that the driver prepares on the server and asks for binary values. */
    static void read(Connection connection, String mark) throws SQLException {
        String sql = "select id, city, email, phone, address, paid, seen, ? + 1 as more from shop.customers "
            + "where id < ? order by id";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int round = 0; round < 7; round++) {
                statement.setInt(1, round);
                statement.setInt(2, 100);
                print("customers " + mark + " " + round, statement.executeQuery());
            }
            ParameterMetaData parameters = statement.getParameterMetaData();
            ResultSetMetaData columns = statement.getMetaData();
            System.out.println("== of the statement\n" + parameters.getParameterTypeName(1) + "|" + columns.getTableName(2)
                + "|" + columns.isNullable(1) + "|" + columns.isAutoIncrement(1) + "|" + columns.getColumnTypeName(7));
        }
        try (PreparedStatement statement = connection.prepareStatement("select id, label, tags, size, fits, doubled from shop.parts order by 1")) {
            statement.setFetchSize(2);
            for (int round = 0; round < 7; round++)
                print("parts " + mark + " " + round, statement.executeQuery());
        }
    }

    static void kept(Connection connection) throws Exception {
        org.postgresql.largeobject.LargeObjectManager objects =
            connection.unwrap(org.postgresql.PGConnection.class).getLargeObjectAPI();
        long oid = objects.createLO();
        try (org.postgresql.largeobject.LargeObject object = objects.open(oid)) {
            object.write("words of a large object".getBytes());
            object.seek(9);
            ByteArrayOutputStream read = new ByteArrayOutputStream();
            read.write(object.read(100));
            System.out.println("== large object\n" + read + "|" + object.size64() + "|" + object.tell64());
        }
        objects.delete(oid);
    }

    public static void main(String[] to) throws Exception {
        try (Connection connection = connect(to, "")) {
            described(connection);
            connection.setAutoCommit(false);
            read(connection, "binary");
            kept(connection);
            connection.rollback();
        }
        try (Connection connection = connect(to, "binaryTransfer=false&prepareThreshold=1")) {
            connection.setAutoCommit(false);
            read(connection, "text");
            connection.rollback();
        }
        try (Connection connection = connect(to, "preferQueryMode=simple")) {
            read(connection, "simple");
        }
    }
}
