package kappa.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.reflect.Field;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;

/** There is one Python per process, so what happens to it is told in one test, in the order in which it happens. */
class PythonStartTest {
    @Test
    void anInterruptionIsForgottenOncePythonHasStartedAndAnErrorIsNot() throws Exception {
        PythonStart.forgetInterruption();
        assertFalse((boolean) read("isStarted"));

        // The first task is cancelled while it waits for Python, and so is the next one.
        InterruptedException cancelled = new InterruptedException();
        write("error", cancelled);
        Thread.currentThread().interrupt();
        assertThrows(InterruptedException.class, PythonStart::forgetInterruption);
        assertEquals(cancelled, read("error"));

        ((CountDownLatch) read("damonThreadStart")).countDown();
        PythonStart.forgetInterruption();
        assertNull(read("error"));
        assertTrue((boolean) read("isStarted"));

        RuntimeException failed = new RuntimeException("Python cannot be started");
        write("error", failed);
        PythonStart.forgetInterruption();
        assertEquals(failed, read("error"));
    }

    private static Object read(String name) throws ReflectiveOperationException {
        return field(name).get(python());
    }

    private static void write(String name, Object value) throws ReflectiveOperationException {
        field(name).set(python(), value);
    }

    private static Object python() throws ReflectiveOperationException {
        return field("instance").get(null);
    }

    private static Field field(String name) throws ReflectiveOperationException {
        Field field = Class.forName("pemja.core.PythonInterpreter$MainInterpreter").getDeclaredField(name);
        field.setAccessible(true);
        return field;
    }
}
