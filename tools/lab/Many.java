import java.io.*;
import java.nio.file.*;
import java.util.*;
import org.apache.cassandra.tools.*;

/** Many calls of Cassandra's tools in one process, because the start of a JVM takes longer than most of them.
 *
 * Each line of the input is one call, its words separated by tabs: "nodetool", then its arguments; or "dump", a Data.db file
 * and a file to which sstabledump's lines are added. For each call one line is printed: its exit status and, if that is not
 * 0, what it said. */
@SuppressWarnings("removal")
public class Many {
    static class Exit extends SecurityException {
        final int status;
        Exit(int status) { this.status = status; }
    }

    static class Probes implements INodeProbeFactory {
        public NodeProbe create(String host, int port) throws IOException { return new NodeProbe(host, port); }
        public NodeProbe create(String host, int port, String user, String word) throws IOException {
            return new NodeProbe(host, port, user, word);
        }
    }

    static final java.security.Policy EVERYTHING = new java.security.Policy() {
        @Override public boolean implies(java.security.ProtectionDomain domain, java.security.Permission permission) { return true; }
    };
    static final SecurityManager NO_EXIT = new SecurityManager() {
        @Override public void checkExit(int status) { throw new Exit(status); }
        @Override public void checkPermission(java.security.Permission permission) {}
    };

    public static void main(String[] arguments) throws Exception {
        PrintStream answers = System.out;
        BufferedReader calls = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = calls.readLine()) != null; ) {
            String[] words = line.split("\t");
            ByteArrayOutputStream said = new ByteArrayOutputStream();
            int status;
            try (PrintStream out = words[0].equals("dump")
                    ? new PrintStream(new BufferedOutputStream(new FileOutputStream(words[2], true), 1 << 16))
                    : new PrintStream(said)) {
                status = call(words, out, new PrintStream(said));
            }
            System.setOut(answers);
            answers.println(status + (status == 0 ? "" : " " + said.toString().trim().replace('\n', ' ')));
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    /** A dump ends the process when it is done; a call of nodetool does not, but may load classes, so it runs without a manager. */
    static int call(String[] words, PrintStream out, PrintStream problems) {
        try {
            if (words[0].equals("nodetool"))
                return new NodeTool(new Probes(), new Output(out, problems)).execute(Arrays.copyOfRange(words, 1, words.length));
            System.setOut(out);
            System.setErr(problems);
            java.security.Policy.setPolicy(EVERYTHING);
            System.setSecurityManager(NO_EXIT);
            SSTableExport.main(new String[] {words[1], "-l"});
            return 0;
        } catch (Exit exit) {
            return exit.status;
        } catch (Throwable error) {
            error.printStackTrace(problems);
            return 1;
        } finally {
            System.setSecurityManager(null);
            out.flush();
        }
    }
}
