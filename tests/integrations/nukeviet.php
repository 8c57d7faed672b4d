<?php
// As much of NukeViet as the block meets: it is included in a function, as nv_blocks_content() does it.

error_reporting(E_ALL);
set_error_handler(function ($level, $message, $file, $line) {
    throw new ErrorException($message, 0, $level, $file, $line);
});

$case = json_decode(stream_get_contents(STDIN), true);
define('NV_MAINFILE', true);
define('NV_SYSTEM', true);
define('NV_LANG_DATA', $case['language']);
date_default_timezone_set('Asia/Ho_Chi_Minh');

function nv_function_exists($name)
{
    return function_exists($name);
}

$my_head = '';
$module_name = $case['module'];
$site_mods = array($case['module'] => array('module_file' => $case['module_file']));
$global_array_cat = array(8 => array('title' => $case['category']));
if (isset($case['row'])) {
    $news_contents = $case['row'];
    $publtime = 1658451600;
}
$_POST = $case['post'];

function included($block_config)
{
    $content = '';
    include dirname(__DIR__, 2) . '/widget/integrations/nukeviet/global.visitstats.php';
    return $content;
}

$content = included(array('snippet' => $case['pasted']));
$settings = file_get_contents(dirname(__DIR__, 2) . '/widget/integrations/nukeviet/global.visitstats.ini');
preg_match('~<datafunction>(\w+)</datafunction>\s*<submitfunction>(\w+)</submitfunction>~', $settings, $functions);
list(, $form, $submit) = $functions;
echo json_encode(array(
    'content' => $content,
    // As the theme puts it into the page.
    'head' => preg_replace('/(<\/head>)/i', $my_head . '\\1', '<head></head>', 1),
    'again' => included(array('snippet' => $case['pasted'])),
    'form' => $form('theme', array('snippet' => $case['pasted']), array()),
    'submitted' => $submit('theme', array()),
));
