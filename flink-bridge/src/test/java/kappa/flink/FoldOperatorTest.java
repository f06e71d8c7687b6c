package kappa.flink;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import pemja.core.PythonException;

class FoldOperatorTest {
    @Test
    void anErrorIsFinalIfPythonSaysSo() {
        PythonException error = new PythonException("<class 'kappa.flink_job.Final'>: FINAL: cannot read\nmore");

        assertTrue(FoldOperator.isFinal(error));
        assertTrue(FoldOperator.isFinal(new RuntimeException("in a timer", error)));
        assertTrue(FoldOperator.isFinal(new RuntimeException("FINAL: cannot read")));
    }

    @Test
    void anErrorThatQuotesTheWordIsNot() {
        assertFalse(FoldOperator.isFinal(new PythonException("<class 'ValueError'>: cannot decode 'FINAL: round'")));
        assertFalse(FoldOperator.isFinal(new RuntimeException((String) null)));
    }
}
