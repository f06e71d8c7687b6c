package kappa.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/** Against a real broker. A transaction of n records takes n + 1 offsets. */
@EnabledIfSystemProperty(named = Servers.KAFKA, matches = ".+", disabledReason = "no Kafka was given")
class GapFinderTest {
    private static final String BROKERS = System.getProperty(Servers.KAFKA);

    private final String topic = "gaps-" + UUID.randomUUID();

    @BeforeEach
    void createTopic() throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", BROKERS))) {
            admin.createTopics(List.of(new NewTopic(topic, Optional.of(2), Optional.empty())))
                    .all()
                    .get();
        }
    }

    @Test
    void behindATransactionIsAGap() throws Exception {
        transaction(0, 2, true);
        transaction(1, 1, true);

        assertEquals(List.of(new Gap(0, 2, 3)), found(Map.of(0, 2L, 1, 0L)));
    }

    @Test
    void whatWasAbortedIsAGap() throws Exception {
        transaction(0, 2, true);
        transaction(0, 5, false);
        transaction(1, 1, true);

        assertEquals(List.of(new Gap(0, 2, 9)), found(Map.of(0, 2L, 1, 0L)));
    }

    @Test
    void aGapThatARecordFollowsNeedNotBeFound() throws Exception {
        transaction(0, 2, true);
        transaction(0, 1, true);
        transaction(1, 3, true);

        assertEquals(List.of(new Gap(1, 3, 4)), found(Map.of(0, 2L, 1, 3L)));
    }

    /** Return the first gaps that are found when a reader rests at these offsets. */
    private List<Gap> found(Map<Integer, Long> places) throws InterruptedException {
        try (GapFinder finder = new GapFinder(BROKERS, topic, new Properties())) {
            places.forEach(finder::at);
            List<Gap> found = new ArrayList<>();
            Servers.eventually(() -> {
                found.addAll(finder.take());
                return !found.isEmpty();
            });
            return found.stream().distinct().toList();
        }
    }

    private void transaction(int partition, int records, boolean committed) throws Exception {
        long end = end(partition) + records + 1;
        Properties settings = new Properties();
        settings.setProperty("bootstrap.servers", BROKERS);
        settings.setProperty("transactional.id", topic);
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.initTransactions();
            producer.beginTransaction();
            for (int record = 0; record < records; record++) {
                producer.send(new ProducerRecord<>(topic, partition, null, new byte[] {1}));
            }
            producer.flush();
            if (committed) {
                producer.commitTransaction();
            } else {
                producer.abortTransaction();
            }
        }
        // The mark is written a little later.
        Servers.eventually(() -> end(partition) == end);
    }

    private long end(int partition) {
        TopicPartition wanted = new TopicPartition(topic, partition);
        ListOffsetsOptions committed = new ListOffsetsOptions(IsolationLevel.READ_COMMITTED);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", BROKERS))) {
            return admin.listOffsets(Map.of(wanted, OffsetSpec.latest()), committed)
                    .partitionResult(wanted)
                    .get()
                    .offset();
        } catch (InterruptedException | ExecutionException error) {
            throw new AssertionError(error);
        }
    }
}
