// The SDK for Java, as it is by default: lists the tools, runs a command and reads it to its end. Prints what it saw: a JSON list.
//
//   java -cp JARS/* Client.java sse|http URL COMMAND CLUSTER WAIT

import io.modelcontextprotocol.client.McpClient;
import io.modelcontextprotocol.client.McpSyncClient;
import io.modelcontextprotocol.client.transport.HttpClientSseClientTransport;
import io.modelcontextprotocol.client.transport.HttpClientStreamableHttpTransport;
import io.modelcontextprotocol.spec.McpClientTransport;
import io.modelcontextprotocol.spec.McpSchema.CallToolRequest;
import io.modelcontextprotocol.spec.McpSchema.TextContent;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import tools.jackson.databind.json.JsonMapper;

public class Client {
  private static final Pattern RUN_ID = Pattern.compile("run_id=\"(\\w+)\"");
  private static final Pattern RUNNING = Pattern.compile("still running after|\\[running for");
  private static final Pattern LINE = Pattern.compile("start_line=(\\d+)");

  public static void main(String[] arguments) {
    String url = arguments[1];
    int wait = Integer.parseInt(arguments[4]);
    McpClientTransport transport =
        arguments[0].equals("sse")
            ? HttpClientSseClientTransport.builder(url).build()
            : HttpClientStreamableHttpTransport.builder(url).build();
    List<String> seen = new ArrayList<>();
    try (McpSyncClient client = McpClient.sync(transport).build()) {
      client.initialize();
      List<String> tools = client.listTools().tools().stream().map(tool -> tool.name()).toList();
      seen.add(String.join(" ", tools));
      Map<String, Object> asked = Map.of("command", arguments[2], "cluster", arguments[3], "wait", wait);
      seen.add(call(client, "run_command", asked));
      while (RUNNING.matcher(last(seen)).find()) {
        Map<String, Object> reading =
            Map.of("run_id", first(RUN_ID, seen.get(1)), "start_line", Integer.parseInt(first(LINE, last(seen))), "wait", wait);
        seen.add(call(client, "read_output", reading));
      }
    }
    System.out.println(JsonMapper.builder().build().writeValueAsString(seen));
    System.exit(0);
  }

  private static String call(McpSyncClient client, String name, Map<String, Object> arguments) {
    return ((TextContent) client.callTool(CallToolRequest.builder(name).arguments(arguments).build()).content().get(0)).text();
  }

  private static String last(List<String> seen) {
    return seen.get(seen.size() - 1);
  }

  private static String first(Pattern pattern, String text) {
    return pattern.matcher(text).results().findFirst().orElseThrow().group(1);
  }
}
