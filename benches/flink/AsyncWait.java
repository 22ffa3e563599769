import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Collections;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.connector.source.lib.NumberSequenceSource;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.datastream.AsyncDataStream;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.async.AsyncFunction;
import org.apache.flink.streaming.api.functions.async.ResultFuture;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;

/**
 * Flink's side of `flink`: numbers from 0 up, each doubled by an async function, in a local mini-cluster.
 *
 * <p>It takes orders, a line each, `WORK NUMBERS CAPACITY`, and answers each with `took` and the nanoseconds that the job took by Flink's own
 * report (from the moment at which it was created to its end). So the virtual machine stays warm between jobs, and
 * whoever gives the orders decides who has a turn when.
 */
public class AsyncWait {
    /** As Flink's own benchmark has it: one thread does the work that is handed over. */
    private static final ExecutorService EXECUTOR = Executors.newSingleThreadExecutor(AsyncWait::daemon);

    private static final ScheduledExecutorService TIMER = Executors.newSingleThreadScheduledExecutor(AsyncWait::daemon);

    /** What the doubles add up to; the job runs in this process. */
    private static final AtomicLong SUM = new AtomicLong();

    private static Thread daemon(Runnable work) {
        Thread thread = new Thread(work);
        thread.setDaemon(true);
        return thread;
    }

    public static void main(String[] args) throws Exception {
        BufferedReader orders = new BufferedReader(new InputStreamReader(System.in));
        for (String order = orders.readLine(); order != null; order = orders.readLine()) {
            String[] words = order.trim().split(" ");
            System.out.println("took " + run(words[0], Long.parseLong(words[1]), Integer.parseInt(words[2])));
            System.out.flush();
        }
    }

    private static long run(String work, long numbers, int capacity) throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment(new Configuration());
        env.setParallelism(1);
        env.enableCheckpointing(100);
        env.getConfig().enableObjectReuse();
        NumberSequenceSource source = new NumberSequenceSource(0, numbers - 1);
        WatermarkStrategy<Long> times =
                WatermarkStrategy.<Long>forMonotonousTimestamps().withTimestampAssigner((number, at) -> number);
        DataStream<Long> stream = env.fromSource(source, times, "numbers", Types.LONG);
        DataStream<Long> doubles =
                AsyncDataStream.unorderedWait(stream, function(work), 0, TimeUnit.MILLISECONDS, capacity)
                        .returns(Types.LONG);
        SUM.set(0);
        doubles.map(AsyncWait::add).returns(Types.LONG).sinkTo(new DiscardingSink<>());
        long nanos = TimeUnit.MILLISECONDS.toNanos(env.execute().getNetRuntime());
        if (SUM.get() != numbers * (numbers - 1)) {
            throw new IllegalStateException("the doubles add up to " + SUM.get());
        }
        return nanos;
    }

    /** Only the sink's thread adds, so a plain store will do, and costs least. */
    private static Long add(Long number) {
        SUM.setPlain(SUM.getPlain() + number);
        return number;
    }

    private static AsyncFunction<Long, Long> function(String work) {
        switch (work) {
            case "handed-over":
                return new HandedOver();
            case "at-once":
                return new AtOnce();
            case "waits":
                return new Waits();
            default:
                throw new IllegalArgumentException("no such work: " + work);
        }
    }

    private static class HandedOver implements AsyncFunction<Long, Long> {
        @Override
        public void asyncInvoke(Long number, ResultFuture<Long> result) {
            EXECUTOR.execute(() -> result.complete(Collections.singleton(2 * number)));
        }
    }

    private static class AtOnce implements AsyncFunction<Long, Long> {
        @Override
        public void asyncInvoke(Long number, ResultFuture<Long> result) {
            result.complete(Collections.singleton(2 * number));
        }
    }

    private static class Waits implements AsyncFunction<Long, Long> {
        @Override
        public void asyncInvoke(Long number, ResultFuture<Long> result) {
            TIMER.schedule(() -> result.complete(Collections.singleton(2 * number)), 1, TimeUnit.MILLISECONDS);
        }
    }
}
