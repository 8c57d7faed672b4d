<?php
// As much of WordPress as the plugin calls. The case comes as JSON on stdin; what the plugin printed goes to stdout.

error_reporting(E_ALL);
set_error_handler(function ($level, $message, $file, $line) {
    throw new ErrorException($message, 0, $level, $file, $line);
});

$case = json_decode(stream_get_contents(STDIN), true);
$hooks = array();
$shortcodes = array();
$errors = array();
define('ABSPATH', '/');

final class WP_Error
{
}

function add_action($name, $function, $priority = 10, $arguments = 1)
{
    $GLOBALS['hooks'][$name][] = array($function, $arguments);
}
function add_filter($name, $function, $priority = 10, $arguments = 1)
{
    add_action($name, $function, $priority, $arguments);
}
function run($name, ...$given)
{
    ob_start();
    foreach ($GLOBALS['hooks'][$name] as list($function, $arguments)) {
        $function(...array_slice($given, 0, $arguments));
    }
    return ob_get_clean();
}
function filtered($name, $value)
{
    foreach ($GLOBALS['hooks'][$name] as list($function)) {
        $value = $function($value);
    }
    return $value;
}
function add_shortcode($name, $function)
{
    $GLOBALS['shortcodes'][$name] = $function;
}
function shortcode_atts($usual, $given, $name)
{
    return array_merge($usual, array_intersect_key((array) $given, $usual));
}
function get_option($name, $usual)
{
    return $name === 'visitstats_snippet' ? $GLOBALS['case']['option'] : $usual;
}
function is_singular()
{
    return $GLOBALS['case']['singular'];
}
function is_preview()
{
    return $GLOBALS['case']['preview'];
}
function is_customize_preview()
{
    return false;
}
function get_queried_object()
{
    return post($GLOBALS['case']['post']);
}
function post($id)
{
    return (object) (array('ID' => $id) + $GLOBALS['case']['posts'][$id]);
}
function get_permalink($post)
{
    return $GLOBALS['case']['posts'][is_object($post) ? $post->ID : $post]['permalink'];
}
function get_post_status($id)
{
    return $GLOBALS['case']['posts'][$id]['status'];
}
function get_the_category($id)
{
    return array((object) array('name' => $GLOBALS['case']['category']));
}
function get_the_author_meta($field, $id)
{
    return $GLOBALS['case']['author'];
}
function get_post_time($format, $gmt, $post)
{
    return '2022-07-22T08:00:00+07:00';
}
function esc_attr($text)
{
    return htmlspecialchars($text, ENT_QUOTES, 'UTF-8');
}
function esc_html($text)
{
    return htmlspecialchars($text, ENT_QUOTES, 'UTF-8');
}
function esc_textarea($text)
{
    return htmlspecialchars($text, ENT_QUOTES, 'UTF-8');
}
function number_format_i18n($number)
{
    return number_format($number, 0, ',', '.');
}
function home_url()
{
    return $GLOBALS['case']['home'];
}
function wp_json_encode($value)
{
    return json_encode($value);
}
// A real request, so that the test sees what the service would.
function wp_remote_post($address, $given)
{
    $headers = '';
    foreach ($given['headers'] as $name => $value) {
        $headers .= "$name: $value\r\n";
    }
    $context = stream_context_create(array('http' => array(
        'method' => 'POST', 'header' => $headers, 'content' => $given['body'],
        'timeout' => $given['timeout'], 'ignore_errors' => true,
    )));
    try {
        $body = file_get_contents($address, false, $context);
    } catch (ErrorException $error) {
        return new WP_Error();
    }
    preg_match('~ (\d+)~', $http_response_header[0], $status);
    return array('code' => (int) $status[1], 'body' => $body);
}
function is_wp_error($answer)
{
    return $answer instanceof WP_Error;
}
function wp_remote_retrieve_response_code($answer)
{
    return $answer['code'];
}
function wp_remote_retrieve_body($answer)
{
    return $answer['body'];
}
function add_settings_error($setting, $code, $message)
{
    $GLOBALS['errors'][] = $message;
}
function register_setting($group, $name, $given)
{
    $GLOBALS['sanitize'] = $given['sanitize_callback'];
}
function add_options_page($title, $menu, $capability, $slug, $function)
{
    $GLOBALS['page'] = array($capability, $function);
}
function settings_fields($group)
{
    echo '<input type="hidden" name="option_page" value="', $group, '">';
}
function submit_button()
{
    echo '<input type="submit">';
}

require dirname(__DIR__, 2) . '/widget/integrations/wordpress/visitstats.php';

run('admin_init');
run('admin_menu');
$list = array();
$GLOBALS['wp_query'] = (object) array('posts' => array_map('post', array_keys($case['posts'])));
$columns = filtered('manage_posts_columns', array('title' => 'Title'));
foreach (isset($columns['visitstats']) ? array_keys($case['posts']) : array() as $id) {
    $list[$id] = run('manage_posts_custom_column', 'visitstats', $id) . run('manage_posts_custom_column', 'author', $id);
}
ob_start();
$page[1]();
$form = ob_get_clean();
echo json_encode(array(
    'head' => run('wp_head'),
    'footer' => run('wp_footer'),
    'shortcodes' => array(
        'visitstats' => $shortcodes['visitstats'](''),
        'visitstats_views' => $shortcodes['visitstats_views'](''),
        'visitstats_views of' => $shortcodes['visitstats_views'](array('id' => (string) $case['post'])),
        'visitstats_top' => $shortcodes['visitstats_top'](array('period' => '"><script>', 'limit' => '5"><b>')),
    ),
    'columns' => $columns,
    'list' => $list,
    'capability' => $page[0],
    'form' => $form,
    'saved' => $sanitize($case['pasted']),
    'errors' => $errors,
));
