package kappa.flink;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InterruptException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Looks, in a thread of its own, whether what follows the last record of an idle partition is a gap.
 *
 * <p>Behind the records of a transaction lies its mark, which nobody is given: who counts records never reaches the end
 * of such a log. That there is a gap from an offset on stays true for ever, so it does not matter what else happens
 * while we look: whoever is still at its start may go to its end.
 */
final class GapFinder implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(GapFinder.class);

    /** A partition that did not move for so long is idle, and is looked at as often. */
    static final Duration IDLE = Duration.ofMillis(300);

    private static final Duration ANSWER_MAX = Duration.ofSeconds(5);
    private static final Duration LOOK_MAX = Duration.ofSeconds(1);
    private static final Duration AFTER_ERROR = Duration.ofSeconds(2);
    private static final long CLOSE_MS_MAX = 10_000;

    private record Place(long offset, long since) {}

    private final String topic;
    private final Properties settings;
    private final Thread thread;

    // Guarded by this.
    private final Map<Integer, Place> places = new HashMap<>();
    private List<Gap> found = new ArrayList<>();
    private boolean closed;

    // Of the thread: where a record is known to follow. It will come, however busy its reader is now.
    private final Map<Integer, Long> followed = new HashMap<>();

    GapFinder(String brokers, String topic, Properties client) {
        this.topic = topic;
        this.settings = settings(brokers, client);
        this.thread = new Thread(this::run, "gaps of " + topic);
        this.thread.setDaemon(true);
        this.thread.start();
    }

    private static Properties settings(String brokers, Properties client) {
        Properties settings = new Properties();
        settings.putAll(client);
        settings.setProperty("bootstrap.servers", brokers);
        settings.setProperty("isolation.level", "read_committed");
        settings.setProperty("enable.auto.commit", "false");
        // An offset that is gone is for the source to complain about.
        settings.setProperty("auto.offset.reset", "none");
        // One record tells as much as many.
        settings.setProperty("max.poll.records", "1");
        settings.setProperty("max.partition.fetch.bytes", "65536");
        return settings;
    }

    /** Say where a partition's reader is. */
    synchronized void at(int partition, long offset) {
        places.put(partition, new Place(offset, System.nanoTime()));
    }

    /** Return the gaps that were found since the last call. */
    synchronized List<Gap> take() {
        List<Gap> taken = found;
        found = new ArrayList<>();
        return taken;
    }

    @Override
    public void close() throws InterruptedException {
        synchronized (this) {
            closed = true;
            notifyAll();
        }
        thread.interrupt();
        thread.join(CLOSE_MS_MAX);
    }

    private void run() {
        // The client library looks for its classes where the thread's loader says.
        Thread.currentThread().setContextClassLoader(GapFinder.class.getClassLoader());
        try {
            while (rest(IDLE)) {
                try (Consumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                    while (rest(IDLE)) {
                        look(consumer);
                    }
                } catch (InterruptException closing) {
                    return;
                } catch (KafkaException error) {
                    LOG.warn("cannot look for gaps of {}, trying again", topic, error);
                    rest(AFTER_ERROR);
                }
            }
        } catch (InterruptedException closing) {
            // That is how `close` ends a wait.
        }
    }

    /** Wait, and return false once closed. */
    private synchronized boolean rest(Duration time) throws InterruptedException {
        if (!closed) {
            wait(time.toMillis());
        }
        return !closed;
    }

    private void look(Consumer<byte[], byte[]> consumer) {
        Map<TopicPartition, Long> idle = idle();
        if (idle.isEmpty()) {
            return;
        }
        Map<TopicPartition, Long> ends = consumer.endOffsets(idle.keySet(), ANSWER_MAX);
        idle.forEach((partition, offset) -> {
            if (ends.get(partition) > offset) {
                look(consumer, partition, offset, ends.get(partition));
            }
        });
        consumer.assign(List.of());
    }

    private void look(Consumer<byte[], byte[]> consumer, TopicPartition partition, long start, long end) {
        consumer.assign(List.of(partition));
        consumer.seek(partition, start);
        long giveUpAt = System.nanoTime() + LOOK_MAX.toNanos();
        long position = start;
        while (position < end && System.nanoTime() - giveUpAt < 0) {
            if (!consumer.poll(Duration.ofMillis(100)).isEmpty()) {
                followed.put(partition.partition(), start);
                return;
            }
            position = consumer.position(partition, ANSWER_MAX);
        }
        if (position > start) {
            synchronized (this) {
                found.add(new Gap(partition.partition(), start, position));
            }
        }
    }

    private synchronized Map<TopicPartition, Long> idle() {
        Map<TopicPartition, Long> idle = new HashMap<>();
        long now = System.nanoTime();
        places.forEach((partition, place) -> {
            boolean moved = now - place.since < IDLE.toNanos();
            if (!moved && followed.getOrDefault(partition, -1L) != place.offset) {
                idle.put(new TopicPartition(topic, partition), place.offset);
            }
        });
        return idle;
    }
}
