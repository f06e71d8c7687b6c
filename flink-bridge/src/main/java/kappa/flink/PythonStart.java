package kappa.flink;

import java.lang.reflect.Field;
import java.util.concurrent.CountDownLatch;

/**
 * Undoes what a task leaves behind that was cancelled while this process's Python started.
 *
 * <p>pemja starts one Python per process, in a thread of its own, and the first task waits for it. If that task is
 * cancelled meanwhile, pemja 0.5.7 keeps the interruption as the reason why Python could not be started, and tells it to
 * every later task: none would ever work in this process again. Python has started all the same.
 */
final class PythonStart {
    private PythonStart() {}

    /**
     * Make pemja forget an interruption, once Python has started.
     *
     * @throws InterruptedException This task is cancelled as well.
     */
    static void forgetInterruption() throws ReflectiveOperationException, InterruptedException {
        Class<?> type = Class.forName("pemja.core.PythonInterpreter$MainInterpreter");
        Object python = field(type, "instance").get(null);
        Field error = field(type, "error");
        Field started = field(type, "isStarted");
        synchronized (python) { // as pemja's own initialize()
            if (error.get(python) instanceof InterruptedException) {
                ((CountDownLatch) field(type, "damonThreadStart").get(python)).await();
                // If Python could not be started, that is the error by now.
                if (error.get(python) instanceof InterruptedException) {
                    error.set(python, null);
                    started.set(python, true);
                }
            }
        }
    }

    private static Field field(Class<?> type, String name) throws ReflectiveOperationException {
        Field field = type.getDeclaredField(name);
        field.setAccessible(true);
        return field;
    }
}
