package kappa.flink;

import java.util.HashMap;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.ScheduledFuture;
import java.util.regex.Pattern;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.execution.SuppressRestartsException;
import org.apache.flink.runtime.state.KeyGroupRangeAssignment;
import org.apache.flink.streaming.api.functions.python.DataStreamPythonFunctionInfo;
import org.apache.flink.streaming.api.operators.python.embedded.AbstractEmbeddedDataStreamPythonFunctionOperator;
import org.apache.flink.streaming.api.operators.python.embedded.EmbeddedPythonKeyedProcessOperator;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.types.Row;

/**
 * Runs the Python function that folds, and says when it flushes: after a time, after some records, before a barrier
 * and at the end of input.
 *
 * <p>What was folded since the last flush is in Python's memory only; a flush puts it into the state and sends it to
 * the sink. So a checkpoint has all of what came before its barrier. The partitions that were touched are flushed
 * together, each under its own key.
 */
final class FoldOperator extends EmbeddedPythonKeyedProcessOperator<Integer, Row, byte[]> {
    private static final long serialVersionUID = 1L;

    /** How the text of an error begins that a restart would only repeat: behind the name of its class, or at once. */
    private static final Pattern FINAL = Pattern.compile("(<class '[^']*'>: )?FINAL:");

    private final DataStreamPythonFunctionInfo function;
    private final TypeInformation<Row> input;
    private final Options options;

    private transient int[] slots;
    private transient long flushMs;
    private transient long flushRecords;
    private transient ValueState<Long> folded;
    private transient Map<Integer, Long> positions;
    private transient TreeSet<Integer> touched;
    private transient long records;
    private transient ScheduledFuture<?> timer;
    private transient GapFinder gaps;
    private transient boolean ended;

    FoldOperator(
            Configuration config,
            DataStreamPythonFunctionInfo function,
            TypeInformation<Row> input,
            TypeInformation<byte[]> output,
            Options options) {
        super(config, function, input, output);
        this.function = function;
        this.input = input;
        this.options = options;
    }

    @Override
    public void open() throws Exception {
        slots = Slots.of(options.integer("partitions"), options.integer("maxParallelism"));
        flushMs = options.integer("flushMs");
        flushRecords = options.integer("flushRecords");
        touched = new TreeSet<>();
        positions = new HashMap<>();
        PythonStart.forgetInterruption();
        run(super::open);
        folded = getRuntimeContext().getState(new ValueStateDescriptor<>("kappa.next_offset", Types.LONG));
        gaps = new GapFinder(options.text("brokers"), options.text("topic"), options.below("client."));
        resume(options.numbers("start"));
        lookForGaps();
    }

    /** Find out where the partitions of this subtask are. */
    private void resume(Map<Integer, Long> start) throws Exception {
        int subtask = getRuntimeContext().getTaskInfo().getIndexOfThisSubtask();
        int parallelism = getRuntimeContext().getTaskInfo().getNumberOfParallelSubtasks();
        for (int partition = 0; partition < slots.length; partition++) {
            Row key = Slots.key(slots[partition]);
            int owner = KeyGroupRangeAssignment.assignKeyToParallelOperator(
                    key, options.integer("maxParallelism"), parallelism);
            if (owner == subtask) {
                setCurrentKey(key);
                Long offset = folded.value();
                move(partition, offset == null ? start.get(partition) : offset);
                int its = partition;
                getMetricGroup()
                        .addGroup("partition", String.valueOf(partition))
                        .gauge("nextOffset", () -> positions.get(its));
            }
        }
    }

    private void move(int partition, long offset) {
        positions.put(partition, offset);
        gaps.at(partition, offset);
    }

    @Override
    public void processElement(StreamRecord<Row> element) throws Exception {
        fold(element, Bundle.Head.of((byte[]) element.getValue().getField(1)));
    }

    private void fold(StreamRecord<Row> element, Bundle.Head head) throws Exception {
        run(() -> super.processElement(element));
        move(head.partition(), head.nextOffset());
        touched.add(head.partition());
        records += head.count();
        if (records >= flushRecords) {
            flush();
        } else if (timer == null) {
            timer = after(flushMs, this::flush);
        }
    }

    private void flush() throws Exception {
        if (timer != null) {
            timer.cancel(false);
            timer = null;
        }
        for (int partition : touched) {
            setCurrentKey(Slots.key(slots[partition]));
            byte[] bundle = Bundle.empty(partition, Bundle.FLUSH);
            run(() -> super.processElement(new StreamRecord<>(Row.of(slots[partition], bundle))));
            folded.update(positions.get(partition));
        }
        touched.clear();
        records = 0;
    }

    private void lookForGaps() throws Exception {
        for (Gap gap : gaps.take()) {
            if (positions.get(gap.partition()) == gap.start()) {
                int slot = slots[gap.partition()];
                setCurrentKey(Slots.key(slot));
                byte[] bundle = Bundle.empty(gap.partition(), gap.end());
                fold(new StreamRecord<>(Row.of(slot, bundle)), Bundle.Head.of(bundle));
            }
        }
        after(GapFinder.IDLE.toMillis(), this::lookForGaps);
    }

    private ScheduledFuture<?> after(long delayMs, Action action) {
        long time = getProcessingTimeService().getCurrentProcessingTime() + delayMs;
        return getProcessingTimeService().registerTimer(time, now -> {
            if (!ended) {
                action.run();
            }
        });
    }

    @Override
    public void prepareSnapshotPreBarrier(long checkpointId) throws Exception {
        if (!ended) {
            flush();
        }
        super.prepareSnapshotPreBarrier(checkpointId);
    }

    @Override
    public void endInput() {
        try {
            flush();
        } catch (RuntimeException error) {
            throw error;
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
        ended = true;
        super.endInput();
    }

    @Override
    public void close() throws Exception {
        if (gaps != null) {
            gaps.close();
        }
        super.close();
    }

    @Override
    public <T> AbstractEmbeddedDataStreamPythonFunctionOperator<T> copy(
            DataStreamPythonFunctionInfo other, TypeInformation<T> output) {
        throw new UnsupportedOperationException("no other Python operator follows, so nobody chains this one to it");
    }

    private interface Action {
        void run() throws Exception;
    }

    /** Do something in Python; an error that is final there ends the job. Those of Python are declared nowhere. */
    private static void run(Action action) throws Exception {
        try {
            action.run();
        } catch (Exception error) {
            throw isFinal(error) ? new SuppressRestartsException(error) : error;
        }
    }

    static boolean isFinal(Throwable error) {
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            if (cause.getMessage() != null && FINAL.matcher(cause.getMessage()).lookingAt()) {
                return true;
            }
        }
        return false;
    }
}
