import java.sql.*;
import java.util.Properties;

/** Verifies whom it meets, and prints what it reads. */
public class Verified {
    public static void main(String[] arguments) throws SQLException {
        Properties login = new Properties();
        login.setProperty("user", "postgres");
        login.setProperty("password", "clear-secret");
        login.setProperty("sslmode", "verify-full");
        login.setProperty("sslrootcert", arguments[1]);
        String url = "jdbc:postgresql://localhost:" + arguments[0] + "/postgres";
        try (Connection db = DriverManager.getConnection(url, login)) {
            PreparedStatement statement = db.prepareStatement("select id, city, email from customers where id = ?");
            for (int time = 0; time < 8; time++) {
                statement.setInt(1, 1);
                ResultSet rows = statement.executeQuery();
                rows.next();
                System.out.println(rows.getInt(1) + "|" + rows.getString(2) + "|" + rows.getString(3));
            }
        }
    }
}
