import java.io.FileInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;

/**
 * A Kafka broker that does not outlive the test that started it.
 *
 * <p>Arguments: the file of the broker's properties, and the id of the cluster. The program formats the broker's folder
 * if the folder is new, and runs Kafka. It ends when its stdin ends.
 */
public final class Broker {
    public static void main(String[] arguments) throws IOException {
        Thread watcher = new Thread(Broker::haltWithTheTest);
        watcher.setDaemon(true);
        watcher.start();
        Properties properties = new Properties();
        try (FileInputStream file = new FileInputStream(arguments[0])) {
            properties.load(file);
        }
        if (!Files.exists(Path.of(properties.getProperty("log.dirs"), "meta.properties"))) {
            String[] format = {"format", "--cluster-id", arguments[1], "--config", arguments[0]};
            int status = kafka.tools.StorageTool.execute(format, System.out);
            if (status != 0) {
                System.exit(status);
            }
        }
        kafka.Kafka.main(new String[] {arguments[0]});
    }

    private static void haltWithTheTest() {
        try {
            while (System.in.read() >= 0) {}
        } catch (IOException error) {
            System.out.println("stdin: " + error);
        }
        Runtime.getRuntime().halt(1);
    }
}
