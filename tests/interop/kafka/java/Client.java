import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.DataOutputStream;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Manages and reads topics with Kafka's own Java clients.
 *
 * <p>Arguments: the brokers, then optionally a file of client properties. The program reads one command a line, and
 * answers each with one line: "ok", perhaps followed by data, or "error" and the cause. One process runs all commands
 * of a test, because a Java program takes a second or two to start.
 */
public final class Client {
    private static final Duration DEADLINE = Duration.ofSeconds(60);

    private final Properties properties = new Properties();
    private final Admin admin;

    private Client(String[] arguments) throws IOException {
        if (arguments.length > 1) {
            try (FileInputStream file = new FileInputStream(arguments[1])) {
                properties.load(file);
            }
        }
        properties.put("bootstrap.servers", arguments[0]);
        admin = Admin.create(properties);
    }

    public static void main(String[] arguments) throws IOException {
        Client client = new Client(arguments);
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            try {
                System.out.println(("ok " + client.run(line.trim().split(" "))).trim());
            } catch (ExecutionException error) {
                System.out.println("error " + oneLine(error.getCause()));
            } catch (Exception error) {
                System.out.println("error " + oneLine(error));
            }
        }
        System.exit(0);
    }

    private static String oneLine(Throwable error) {
        return error.toString().replace('\n', ' ');
    }

    private String run(String[] words) throws Exception {
        switch (words[0]) {
            case "create":
                return create(words);
            case "delete":
                return delete(words[1]);
            case "grow":
                return grow(words[1], Integer.parseInt(words[2]));
            case "leaders":
                return leaders(words[1]).entrySet().stream()
                        .map(entry -> entry.getKey() + "=" + entry.getValue())
                        .collect(Collectors.joining(" "));
            case "move":
                return move(words[1], Integer.parseInt(words[2]), Integer.parseInt(words[3]));
            case "password":
                return password(words[1], words[2]);
            case "reserve":
                return reserve(words[1], words[2]);
            case "read":
                return read(words[1], words[2]);
            default:
                throw new IllegalArgumentException("unknown command " + words[0]);
        }
    }

    /** Creates a topic, and waits for leaders: create TOPIC PARTITIONS REPLICAS [SETTING=VALUE …]. */
    private String create(String[] words) throws Exception {
        Map<String, String> settings = new HashMap<>();
        for (String word : Arrays.copyOfRange(words, 4, words.length)) {
            String[] setting = word.split("=", 2);
            settings.put(setting[0], setting[1]);
        }
        int partitions = Integer.parseInt(words[2]);
        NewTopic topic = new NewTopic(words[1], partitions, Short.parseShort(words[3])).configs(settings);
        admin.createTopics(List.of(topic)).all().get();
        return awaitLeaders(words[1], partitions);
    }

    /** Adds partitions to a topic, and waits for leaders: grow TOPIC PARTITIONS. */
    private String grow(String topic, int partitions) throws Exception {
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(partitions))).all().get();
        return awaitLeaders(topic, partitions);
    }

    private String awaitLeaders(String topic, int partitions) throws Exception {
        long end = System.nanoTime() + DEADLINE.toNanos();
        while (System.nanoTime() < end) {
            try {
                Map<Integer, Integer> leaders = leaders(topic);
                if (leaders.size() == partitions && !leaders.containsValue(-1)) {
                    return "";
                }
            } catch (ExecutionException error) {
                if (!(error.getCause() instanceof UnknownTopicOrPartitionException)) {
                    throw error;
                }
            }
            Thread.sleep(20);
        }
        throw new IllegalStateException("the topic's partitions have no leaders after " + DEADLINE);
    }

    /** Deletes a topic and waits until no broker lists it. */
    private String delete(String topic) throws Exception {
        admin.deleteTopics(List.of(topic)).all().get();
        long end = System.nanoTime() + DEADLINE.toNanos();
        while (System.nanoTime() < end) {
            if (!admin.listTopics().names().get().contains(topic)) {
                return "";
            }
            Thread.sleep(20);
        }
        throw new IllegalStateException("the topic still exists after " + DEADLINE);
    }

    /** Returns the leader of each partition, or -1 for a partition without a leader. */
    private Map<Integer, Integer> leaders(String topic) throws Exception {
        Map<Integer, Integer> leaders = new TreeMap<>();
        for (TopicPartitionInfo partition : partitions(topic)) {
            leaders.put(partition.partition(), partition.leader() == null ? -1 : partition.leader().id());
        }
        return leaders;
    }

    private List<TopicPartitionInfo> partitions(String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions();
    }

    /** Makes a broker the leader of a partition of which it has a replica. Waits until it leads. */
    private String move(String topic, int partition, int broker) throws Exception {
        TopicPartition place = new TopicPartition(topic, partition);
        List<Integer> replicas = new ArrayList<>(List.of(broker));
        partitions(topic).get(partition).replicas().stream()
                .map(node -> node.id())
                .filter(id -> id != broker)
                .forEach(replicas::add);
        admin.alterPartitionReassignments(Map.of(place, Optional.of(new NewPartitionReassignment(replicas))))
                .all().get();
        long end = System.nanoTime() + DEADLINE.toNanos();
        while (System.nanoTime() < end) {
            if (leaders(topic).get(partition) == broker) {
                return "";
            }
            try {
                admin.electLeaders(ElectionType.PREFERRED, Set.of(place)).all().get();
            } catch (ExecutionException error) {
                if (!(error.getCause() instanceof ElectionNotNeededException)) {
                    Thread.sleep(100);
                }
            }
            Thread.sleep(20);
        }
        throw new IllegalStateException("broker " + broker + " does not lead after " + DEADLINE);
    }

    /** Sets the password of a user for both SCRAM mechanisms. */
    private String password(String user, String password) throws Exception {
        for (ScramMechanism mechanism : List.of(ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)) {
            ScramCredentialInfo iterations = new ScramCredentialInfo(mechanism, 4096);
            admin.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion(user, iterations, password)))
                    .all().get();
        }
        return "";
    }

    /** Allows only one user to write to a topic. */
    private String reserve(String topic, String user) throws Exception {
        ResourcePattern pattern = new ResourcePattern(ResourceType.TOPIC, topic, PatternType.LITERAL);
        AccessControlEntry entry =
                new AccessControlEntry("User:" + user, "*", AclOperation.WRITE, AclPermissionType.ALLOW);
        admin.createAcls(List.of(new AclBinding(pattern, entry))).all().get();
        return "";
    }

    private KafkaConsumer<byte[], byte[]> consumer() {
        return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static List<TopicPartition> places(KafkaConsumer<byte[], byte[]> consumer, String topic) {
        return consumer.partitionsFor(topic, DEADLINE).stream()
                .map(info -> new TopicPartition(topic, info.partition()))
                .collect(Collectors.toList());
    }

    /**
     * Writes all records that a topic has now to a file: read TOPIC FILE. Integers are big endian; a length of -1 is
     * null. Returns the number of records, and the number of records that are not in the partition to which Kafka's own
     * producer would have sent their keys.
     */
    private String read(String topic, String path) throws IOException {
        long records = 0;
        long misplaced = 0;
        try (KafkaConsumer<byte[], byte[]> consumer = consumer();
                DataOutputStream file =
                        new DataOutputStream(new BufferedOutputStream(new FileOutputStream(path), 1 << 20))) {
            List<TopicPartition> places = places(consumer, topic);
            consumer.assign(places);
            consumer.seekToBeginning(places);
            Map<TopicPartition, Long> ends = consumer.endOffsets(places, DEADLINE);
            long deadline = System.nanoTime() + DEADLINE.toNanos();
            while (places.stream().anyMatch(place -> consumer.position(place) < ends.get(place))) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("the topic could not be read within " + DEADLINE);
                }
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    write(file, record);
                    records += 1;
                    byte[] key = record.key();
                    if (key != null
                            && BuiltInPartitioner.partitionForKey(key, places.size()) != record.partition()) {
                        misplaced += 1;
                    }
                }
            }
        }
        return records + " " + misplaced;
    }

    private static void write(DataOutputStream file, ConsumerRecord<byte[], byte[]> record) throws IOException {
        file.writeInt(record.partition());
        file.writeLong(record.offset());
        file.writeLong(record.timestamp());
        write(file, record.key());
        write(file, record.value());
        Header[] headers = record.headers().toArray();
        file.writeInt(headers.length);
        for (Header header : headers) {
            write(file, header.key().getBytes());
            write(file, header.value());
        }
    }

    private static void write(DataOutputStream file, byte[] bytes) throws IOException {
        file.writeInt(bytes == null ? -1 : bytes.length);
        if (bytes != null) {
            file.write(bytes);
        }
    }
}
